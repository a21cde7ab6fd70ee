// SPDX-License-Identifier: Apache-2.0
//
// Random UUIDs (version 4), which make an acquire one wish over all its retries. Any thread.
#pragma once

#include <string>

namespace leaseplane::internal {

std::string NewRequestId();

}  // namespace leaseplane::internal
