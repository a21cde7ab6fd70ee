// SPDX-License-Identifier: Apache-2.0
//
// Which calls gRPC may repeat by itself: proto/leaseplane/v1/service_config.json, built in.
#pragma once

namespace leaseplane::internal {

extern const char kServiceConfig[];

}  // namespace leaseplane::internal
