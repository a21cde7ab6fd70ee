// SPDX-License-Identifier: Apache-2.0
//
// ScratchArena: memory for the messages of one call, taken from the stack. A message that needs
// more gets it from the heap; all of it goes at once.
//
// Owner: a local variable. Threads: one.
#pragma once

#include <google/protobuf/arena.h>

#include <cstddef>

namespace leaseplane::rpc {

template <size_t kBytes>
class ScratchArena {
 public:
  ScratchArena() : arena_(OptionsFor(block_)) {}
  ScratchArena(const ScratchArena&) = delete;
  ScratchArena& operator=(const ScratchArena&) = delete;

  // Lives as long as the arena.
  template <class Message>
  Message* New() {
    return google::protobuf::Arena::CreateMessage<Message>(&arena_);
  }

 private:
  static google::protobuf::ArenaOptions OptionsFor(char* block) {
    google::protobuf::ArenaOptions options;
    options.initial_block = block;
    options.initial_block_size = kBytes;
    return options;
  }

  alignas(8) char block_[kBytes];
  google::protobuf::Arena arena_;
};

}  // namespace leaseplane::rpc
