// SPDX-License-Identifier: Apache-2.0
//
// One attach connection at the level of the socket: who is on the other end, and whole messages in
// and out without waiting. Free functions over a descriptor; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/attach/messages.h"
#include "core/base/unique_fd.h"

namespace leaseplane::attach {

struct Peer {
  uint32_t uid = UINT32_MAX;
  uint32_t gid = UINT32_MAX;
  std::vector<uint32_t> groups;  // supplementary
};

// Credentials as they were when the peer connected. False: the kernel does not tell.
bool ReadPeer(int connection, Peer& out);

// A descriptor that becomes readable when the peer's process has ended; empty if the kernel can not
// name the process (another pid namespace on an old kernel, or it has ended already).
UniqueFd PeerPidfd(int connection);

// Tells processes apart for as long as they live: the same for every connection of one process.
// 0: the kernel does not tell (another pid namespace on an old kernel). `pidfd` may be -1.
uint64_t ProcessKey(int connection, int pidfd);

// True if the process behind `pidfd` has ended.
bool HasEnded(int pidfd);

bool IsHungUp(int connection);
// True if the peer has read all that it was sent.
bool HasReadAll(int connection);

enum class ReadResult { kMessage, kNothing, kHangUp, kRubbish };
// Takes no descriptors: what a peer sends along is dropped by the kernel. kRubbish: wrong length.
ReadResult ReadMessage(int connection, Message& out);

enum class SendResult { kSent, kFull, kGone };
// `fds`: at most three, duplicated into the peer.
SendResult SendMessage(int connection, const Message& message, std::span<const int> fds = {});

}  // namespace leaseplane::attach
