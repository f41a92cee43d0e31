// Launches that a backend captures once and launches again as a whole.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/autograd/context.hpp>
#include <sra/core/arena.hpp>

#include <algorithm>
#include <deque>
#include <utility>
#include <vector>

namespace sra {

/// Whether a backend can capture what is launched and launch it again as a whole:
///   graphs()                 whether it is to be done
///   graph_type, event_type   what was captured; a point in the backend's order, with wait()
///   capture(f), launch(graph), record(event), pinned(), copy_later(to, from, bytes), copy_ahead(to, from, bytes, event)
template <class B>
inline constexpr bool replays = requires(B& backend) {
  backend.graphs();
};

/// What was captured of the work of one workspace.
/// @tparam Form what a capture is good for, with a member `graph`
template <Backend B, class Form>
class Captures {
 public:
  explicit Captures(Workspace<B>& workspace) : workspace_(workspace) {}
  Captures(const Captures&) = delete;
  Captures& operator=(const Captures&) = delete;
  ~Captures() { forget(); }

  /// Whether work is to be captured: an observer wants to see every launch, and what failed once is not tried again.
  bool wanted() const { return workspace_.backend.graphs() && !workspace_.observer && !gave_up_; }
  bool empty() const { return forms_.empty(); }

  /// The form of which is(form), or null.
  template <class Is>
  Form* find(Is is) {
    const auto at = std::find_if(forms_.begin(), forms_.end(), is);
    return at == forms_.end() ? nullptr : &*at;
  }

  /// Captures f(form), which finds the workspace as it will be at every launch.  Nothing may be allocated meanwhile.
  /// @return the kept form, or null if f cannot be captured; then f is to be run, and says itself if the error is its own
  template <class F>
  Form* capture(Form form, F&& f) {
    const Arena::Mark before = workspace_.activations.mark();
    const bool frozen = workspace_.activations.frozen();
    workspace_.freeze();
    try {
      form.graph = workspace_.backend.capture([&] { f(form); });
    } catch (...) {
      gave_up_ = true;
      workspace_.activations.pop(before);
    }
    if (!frozen) workspace_.thaw();
    return gave_up_ ? nullptr : &forms_.emplace_back(std::move(form));
  }

  /// Forgets everything once it has run, and that something failed.
  void clear() {
    forget();
    gave_up_ = false;
  }

 private:
  void forget() {
    if (forms_.empty()) return;
    try {
      workspace_.backend.wait();
    } catch (...) {  // what failed there was said, or nobody waited for it
    }
    forms_.clear();
  }

  Workspace<B>& workspace_;
  std::deque<Form> forms_;  ///< they stay where they are
  bool gave_up_ = false;
};

/// Work that is done again and again, launched as a whole from the third time on where the backend replays.
/// @tparam Key what the work depends on beside its place on the stack: sizes, and addresses that it reads and writes
template <Backend B, class Key, bool = replays<B>>
class Repeated {
 public:
  explicit Repeated(Workspace<B>&) {}
  template <class F>
  void run(const Key&, F&& f) {
    f();
  }
};

/// The same where the backend replays.
template <Backend B, class Key>
class Repeated<B, Key, true> {
 public:
  explicit Repeated(Workspace<B>& workspace) : workspace_(workspace), captures_(workspace) {}

  /// Does f(), which leaves the stack as it finds it: launched at first, so that memory grows and products choose their
  /// algorithms; captured when it comes again, and from then on launched as a whole.
  template <class F>
  void run(const Key& key, F&& f) {
    if (!captures_.wanted()) return f();
    const Place place{key, workspace_.activations.mark()};
    Form* form = captures_.find([&](const Form& known) { return known.place == place; });
    if (!form && std::find(met_.begin(), met_.end(), place) != met_.end())
      form = captures_.capture({place, {}}, [&](Form&) { f(); });
    else if (!form)
      met_.push_back(place);
    form ? workspace_.backend.launch(form->graph) : f();
  }

 private:
  struct Place {
    Key key;
    Arena::Mark at;
    bool operator==(const Place&) const = default;
  };
  struct Form {
    Place place;
    typename B::graph_type graph;
  };

  Workspace<B>& workspace_;
  Captures<B, Form> captures_;
  std::vector<Place> met_;
};

}  // namespace sra
