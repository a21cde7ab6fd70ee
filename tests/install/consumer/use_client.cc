// SPDX-License-Identifier: Apache-2.0
// The same classes, linked with the remote path: it is there without being asked for.
#include <leaseplane/client.h>

#include <iostream>

int main() {
  leaseplane::ClientOptions options;
  options.forbid_local = true;
  const auto nobody = leaseplane::Client::Connect("127.0.0.1:1", options);
  std::cout << nobody.status() << "\n";
  return leaseplane::ReasonOf(nobody.status()) == leaseplane::Reason::kUnreachable ? 0 : 1;
}
