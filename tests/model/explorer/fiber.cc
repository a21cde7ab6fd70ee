// SPDX-License-Identifier: Apache-2.0
#include "tests/model/explorer/fiber.h"

#include <cstdint>

#if LEASEPLANE_FIBER_ASM
// void leaseplane_fiber_switch(void** save_stack_pointer, void* load_stack_pointer)
// Keeps what the calling convention wants kept; signal masks and floating point modes are shared.
asm(R"(
.text
.globl leaseplane_fiber_switch
.type leaseplane_fiber_switch, @function
leaseplane_fiber_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size leaseplane_fiber_switch, .-leaseplane_fiber_switch
)");
extern "C" void leaseplane_fiber_switch(void** save, void* load);
#endif

namespace leaseplane::explorer {

#if LEASEPLANE_FIBER_ASM

void Fiber::Reset(Entry entry) {
  if (!stack_) stack_.reset(new std::byte[kStackBytes]);
  auto top = reinterpret_cast<uintptr_t>(stack_.get() + kStackBytes) & ~uintptr_t{15};
  auto* frame = reinterpret_cast<uintptr_t*>(top);
  *--frame = 0;  // the address `entry` would return to
  *--frame = reinterpret_cast<uintptr_t>(entry);
  for (int saved = 0; saved < 6; ++saved) *--frame = 0;
  stack_pointer_ = frame;
}

void Fiber::Switch(Fiber& from, Fiber& to) {
  leaseplane_fiber_switch(&from.stack_pointer_, to.stack_pointer_);
}

#else

void Fiber::Reset(Entry entry) {
  if (!stack_) stack_.reset(new std::byte[kStackBytes]);
  getcontext(&context_);
  context_.uc_stack = {stack_.get(), 0, kStackBytes};
  context_.uc_link = nullptr;
  makecontext(&context_, entry, 0);
}

void Fiber::Switch(Fiber& from, Fiber& to) { swapcontext(&from.context_, &to.context_); }

#endif

}  // namespace leaseplane::explorer
