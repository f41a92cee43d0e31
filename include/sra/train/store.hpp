// The flat buffers of a training run: values, moments, gradients and averages of all parameters, one allocation each.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/autograd/context.hpp>
#include <sra/core/arena.hpp>
#include <sra/core/dtype.hpp>
#include <sra/core/error.hpp>
#include <sra/nn/init.hpp>
#include <sra/nn/param.hpp>

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace sra {

/// A model and what its alignment owns, as one module: the alignment's keys stand beside the model's.
template <class Model, class Extra>
struct Trained {
  Model model;
  [[no_unique_address]] Extra extra;

  static constexpr void visit(auto& self, auto&& f) {
    std::remove_cvref_t<decltype(self.model)>::visit(self.model, f);
    std::remove_cvref_t<decltype(self.extra)>::visit(self.extra, f);
  }
  void initialise(const auto& values, std::string_view name, std::uint64_t seed) const {
    init::call_initialise(model, values, name, seed);
    init::call_initialise(extra, values, name, seed);
  }
};

/// Calls f(name, module) for a module and every module in it.
template <class M, class F>
void for_each_module(const M& module, F&& f, const std::string& name = "") {
  f(name, module);
  M::visit(module, [&](const char* field_name, const auto& field) {
    using Field = std::remove_cvref_t<decltype(field)>;
    const std::string full = detail::dotted(name, field_name);
    if constexpr (detail::IsModuleArray<Field>::value) {
      for (std::size_t i = 0; i < field.size(); ++i) for_each_module(field[i], f, detail::dotted(full, i));
    } else if constexpr (!Parameter<Field>) {
      for_each_module(field, f, full);
    }
  });
}

/// One parameter as the trainer, checkpoints and reports see it.
struct ParamInfo {
  std::string name;
  std::vector<index_t> shape;
  index_t offset = 0, size = 0;
  ParamKind kind = ParamKind::trained;
};

namespace detail {

[[gnu::noinline]] inline void list_param(std::vector<ParamInfo>& list, const std::string& name, const index_t* extents,
                                         int rank, index_t offset, index_t size, ParamKind kind) {
  list.push_back({name, {extents, extents + rank}, offset, size, kind});
}

template <index_t... E>
void list_param(std::vector<ParamInfo>& list, const std::string& name, const Param<E...>& p) {
  list_param(list, name, extent_list<E...>, sizeof...(E), p.offset, p.size, p.kind);
}

}  // namespace detail

/// All parameters of a module, in order.
template <Module M>
std::vector<ParamInfo> parameters_of(M& module) {
  std::vector<ParamInfo> list;
  for_each_param(module, [&](const std::string& name, auto& p) { detail::list_param(list, name, p); });
  return list;
}

/// Copies a flat buffer, rounded to the type that products read or as it is.  @param size a multiple of param_alignment
template <class T, Backend B>
void round_values(B& backend, T* to, const wide_t<T>* from, index_t size) {
  Workspace<B> workspace(backend);
  Detached<B, T> context(workspace, {});
  const Shape<dynamic, param_alignment> shape{size / param_alignment};
  copy(context, dense(to, shape), dense(from, shape));
}

/// Where the EMA teacher, the optimizer and the gradients of a module live.  Offsets of the module's Params hold in all
/// buffers; the padding between parameters is zero and stays zero.
/// @tparam M the module  @tparam B the backend  @tparam T type that products read
template <Module M, Backend B, class T>
class Store {
 public:
  using W = wide_t<T>;
  /// Whether products read the masters themselves; otherwise copies in T, which the update keeps.
  static constexpr bool direct = std::is_same_v<T, W>;

  /// Places the parameters; their memory comes with allocate().
  /// @param emas number of averages, at least 1; the first is the teacher
  Store(B& backend, int emas)
      : backend_(backend),
        size_(place(module_)),
        list_(parameters_of(module_)),
        states_(list_.size(), unwritten),
        ema_(static_cast<std::size_t>(emas)) {}
  Store(const Store&) = delete;  // records point into module_
  Store& operator=(const Store&) = delete;

  /// Bytes that allocate() takes.
  std::size_t planned_bytes() const {
    return static_cast<std::size_t>(size_) * (sizeof(W) * (4 + ema_.size()) + (direct ? 0 : 2 * sizeof(T)));
  }
  /// Bytes that it has.
  std::size_t held() const {
    std::size_t bytes = values_.bytes() + teacher_.bytes();
    for (const Memory* m : {&master_, &m_, &v_, &gradient_}) bytes += m->bytes();
    for (const Memory& m : ema_) bytes += m.bytes();
    return bytes;
  }
  bool allocated() const { return master_.data() != nullptr; }
  /// Takes the memory of all buffers, zeroed.  Before it, tables hold addresses that nobody may read: for planning.
  void allocate() {
    for (Memory* m : {&master_, &m_, &v_, &gradient_}) *m = zeroed(sizeof(W));
    for (Memory& m : ema_) m = zeroed(sizeof(W));
    if constexpr (!direct) values_ = zeroed(sizeof(T)), teacher_ = zeroed(sizeof(T));
  }

  B& backend() const { return backend_; }
  const M& module() const { return module_; }
  const std::vector<ParamInfo>& parameters() const { return list_; }
  /// Elements of every buffer, padding included.
  index_t size() const { return size_; }
  int emas() const { return static_cast<int>(ema_.size()); }

  W* master() const { return data(master_); }
  W* first_moment() const { return data(m_); }
  W* second_moment() const { return data(v_); }
  W* gradient() const { return data(gradient_); }
  W* ema(int i) const { return data(ema_[static_cast<std::size_t>(i)]); }
  std::vector<unsigned char>& states() { return states_; }
  /// The masters and the first average in T, or null if products read them as they are.
  T* values() const { return direct ? nullptr : address<T>(values_); }
  T* teacher() const { return direct ? nullptr : address<T>(teacher_); }

  /// What a Recording context of the student needs.
  ParameterTable<T> student() {
    return refresh(), ParameterTable<T>{read(master(), values()), master(), gradient(), states_.data(), size_};
  }
  /// The student's weights as constants.
  ParameterTable<T> live() const {
    return refresh(), ParameterTable<T>{read(master(), values()), master(), nullptr, nullptr, size_};
  }
  /// The first average as constants: the teacher.
  ParameterTable<T> averaged() const {
    return refresh(), ParameterTable<T>{read(ema(0), teacher()), ema(0), nullptr, nullptr, size_};
  }
  /// Somebody else than the update writes, or has written, masters or averages: the next table makes their copies in T anew.
  void invalidate() { stale_ = true; }
  /// Makes copies in T anew that are stale.
  void refresh() const {
    if constexpr (!direct) {
      if (!stale_) return;
      round_values(backend_, values(), master(), size_);
      round_values(backend_, teacher(), ema(0), size_);
      stale_ = false;
    }
  }

  /// Draws initial values on the backend, keyed by the seed and each module's name, and copies them into the averages.
  void initialise(std::uint64_t seed) {
    if (!allocated()) throw Error("Store: expected allocate() before initialise()");
    Workspace<B> workspace(backend_);
    Detached<B, W> context(workspace, {});
    const init::Values values(context, master());
    for_each_module(module_,
                    [&](const std::string& name, const auto& m) { init::call_initialise(m, values, name, seed); });
    for (int i = 0; i < emas(); ++i) round_values<W>(backend_, ema(i), master(), size_);
    invalidate();
  }

  /// What a buffer holds of a parameter.
  std::vector<W> values_of(const W* buffer, const ParamInfo& p) const {
    std::vector<W> values(static_cast<std::size_t>(p.size));
    backend_.download(values.data(), buffer + p.offset, values.size() * sizeof(W));
    return values;
  }

  /// Replaces what a master or an average holds of a parameter.
  /// @throws Error for an unknown name or another number of values
  void set_values(W* buffer, std::string_view name, std::span<const W> values) {
    const ParamInfo& p = find(name);
    if (std::cmp_not_equal(values.size(), p.size))
      throw Error(text("parameters: ", name, ": expected ", p.size, " numbers, got ", values.size()));
    invalidate();
    backend_.upload(buffer + p.offset, values.data(), values.size_bytes());
  }

  /// The parameter of this name.  @throws Error if there is none
  const ParamInfo& find(std::string_view name) const {
    for (const ParamInfo& p : list_)
      if (p.name == name) return p;
    throw Error(text("parameters: expected a name of the model, got \"", name, "\""));
  }

 private:
  Memory zeroed(std::size_t element) const {
    const std::size_t bytes = static_cast<std::size_t>(size_) * element;
    Memory m(MemorySource::of(backend_), bytes);
    backend_.zero(m.data(), bytes);
    return m;
  }
  static const T* read(const W* masters, const T* copies) {
    if constexpr (direct)
      return masters;
    else
      return copies;
  }
  /// The memory's address, or one that nobody may read.
  template <class U>
  static U* address(const Memory& m) {
    return m.data() ? reinterpret_cast<U*>(m.data()) : reinterpret_cast<U*>(alignment_bytes);
  }
  static W* data(const Memory& m) { return address<W>(m); }

  B& backend_;
  M module_{};
  index_t size_;
  std::vector<ParamInfo> list_;
  std::vector<unsigned char> states_;
  Memory master_, m_, v_, gradient_, values_, teacher_;
  std::vector<Memory> ema_;
  mutable bool stale_ = false;
};

}  // namespace sra
