// SIGINT and SIGTERM as a question that the training loop asks between steps.
// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <csignal>

namespace sra {

/// While it lives, SIGINT and SIGTERM only set a flag; a second one has its default action, so that it
/// ends a program that does not come to its next step.  Restores what it found.
class SignalGuard {
 public:
  SignalGuard() {
    flag() = 0;
    struct sigaction action {};
    action.sa_handler = [](int) { flag() = 1; };
    action.sa_flags = static_cast<int>(SA_RESETHAND) | SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, &before_[0]);
    sigaction(SIGTERM, &action, &before_[1]);
  }
  ~SignalGuard() {
    sigaction(SIGINT, &before_[0], nullptr);
    sigaction(SIGTERM, &before_[1], nullptr);
  }
  SignalGuard(const SignalGuard&) = delete;
  SignalGuard& operator=(const SignalGuard&) = delete;

  /// Whether a signal has come.
  bool asked() const { return flag() != 0; }

 private:
  /// Any thread of the process may run the handler.
  static std::atomic<int>& flag() {
    static_assert(std::atomic<int>::is_always_lock_free);
    static std::atomic<int> value{0};
    return value;
  }
  struct sigaction before_[2]{};
};

}  // namespace sra
