// SPDX-License-Identifier: Apache-2.0
//
// Input: the bytes of a fuzzer, taken in small pieces. Reads zeros beyond the end.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace leaseplane::fuzz {

class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), size_(size) {}

  template <class T>
  T Take() {
    T value{};
    const size_t count = sizeof(T) < size_ ? sizeof(T) : size_;
    if (count > 0) std::memcpy(&value, data_, count);
    data_ += count;
    size_ -= count;
    return value;
  }
  std::string TakeText(size_t count) {
    if (count > size_) count = size_;
    std::string text(reinterpret_cast<const char*>(data_), count);
    data_ += count;
    size_ -= count;
    return text;
  }
  std::string Rest() { return TakeText(size_); }
  size_t size() const { return size_; }

 private:
  const uint8_t* data_;
  size_t size_;
};

inline void Must(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

}  // namespace leaseplane::fuzz
