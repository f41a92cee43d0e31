// Parameters: offsets into flat buffers, and how modules are walked.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/autograd/var.hpp>
#include <sra/core/shape.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <string>
#include <type_traits>

namespace sra {

/// What happens to a parameter: trained, or constant (stored and averaged like the others, never updated).
enum class ParamKind : unsigned char { trained, constant };

/// A parameter of a module: where it begins in every flat buffer, and its number.  Offsets are multiples of 64 elements.
template <index_t... E>
struct Param {
  using shape = Shape<E...>;
  static_assert(!shape::batched, "Param: extents are static");
  static constexpr index_t size = shape::sample_size();

  index_t offset = 0;
  std::int32_t ordinal = 0;
  ParamKind kind = ParamKind::trained;
};

namespace detail {

template <class>
struct IsParam : std::false_type {};
template <index_t... E>
struct IsParam<Param<E...>> : std::true_type {};
template <class>
struct IsModuleArray : std::false_type {};
template <class M, std::size_t N>
struct IsModuleArray<std::array<M, N>> : std::true_type {};

}  // namespace detail

/// A Param of any shape.
template <class P>
concept Parameter = detail::IsParam<std::remove_cvref_t<P>>::value;

/// A module: plain structure with `static void visit(auto& self, auto&& f)` that calls f(name, field) for every parameter and
/// sub-module, in PyTorch's order and under PyTorch's names.
template <class M>
concept Module = requires(M& m) {
  std::remove_cvref_t<M>::visit(m, [](const char*, auto&) {});
};

namespace detail {

/// "prefix.name", or name alone; one function, since every module calls it.
[[gnu::noinline]] inline std::string dotted(const std::string& prefix, const std::string& name) {
  return prefix.empty() ? name : prefix + "." + name;
}
[[gnu::noinline]] inline std::string dotted(const std::string& prefix, std::size_t number) {
  return dotted(prefix, std::to_string(number));
}

}  // namespace detail

/// Calls f(name, param) for every parameter, in order, with full names such as "blocks.0.attn.qkv.weight".
template <class M, class F>
void for_each_param(M& module, F&& f, const std::string& prefix = "") {
  std::remove_cvref_t<M>::visit(module, [&](const char* name, auto& field) {
    using Field = std::remove_cvref_t<decltype(field)>;
    const std::string full = detail::dotted(prefix, name);
    if constexpr (Parameter<Field>) {
      f(full, field);
    } else if constexpr (detail::IsModuleArray<Field>::value) {
      for (std::size_t i = 0; i < field.size(); ++i) for_each_param(field[i], f, detail::dotted(full, i));
    } else {
      for_each_param(field, f, full);
    }
  });
}

namespace detail {

/// sizeof of the Params that visit reaches; differs from sizeof(M) when a field is forgotten.
template <class M>
constexpr std::size_t visited_size() {
  std::size_t n = 0;
  if constexpr (Parameter<M>) {
    n = sizeof(M);
  } else if constexpr (IsModuleArray<M>::value) {
    n = std::tuple_size<M>::value * visited_size<typename M::value_type>();
  } else {
    M module{};
    M::visit(module, [&](const char*, auto& field) { n += visited_size<std::remove_cvref_t<decltype(field)>>(); });
  }
  return n;
}

}  // namespace detail

/// Elements between the beginnings of neighbouring parameters are multiples of this: 256 bytes in float, 128 in bf16.
inline constexpr index_t param_alignment = 64;

namespace detail {

template <class M>
void place_fields(M& part, index_t& offset, std::int32_t& ordinal) {
  if constexpr (Parameter<M>) {
    part.offset = offset;
    part.ordinal = ordinal++;
    offset += round_up(M::size, param_alignment);
  } else if constexpr (IsModuleArray<M>::value) {
    for (auto& element : part) place_fields(element, offset, ordinal);
  } else {
    M::visit(part, [&](const char*, auto& field) { place_fields(field, offset, ordinal); });
  }
}

}  // namespace detail

/// Gives every parameter its offset and number, beginning at `offset`.  @return the end, a multiple of 64
template <Module M>
index_t place(M& module, index_t offset = 0, std::int32_t ordinal = 0) {
  static_assert(std::is_empty_v<M> || detail::visited_size<M>() == sizeof(M),
                "place: visit() must reach every parameter of the module and the module hold nothing else");
  detail::place_fields(module, offset, ordinal);
  return offset;
}

/// Number of parameters' elements, without padding.
template <class M>
constexpr index_t parameter_count() {
  index_t n = 0;
  if constexpr (Parameter<M>) {
    n = M::size;
  } else if constexpr (detail::IsModuleArray<M>::value) {
    n = static_cast<index_t>(std::tuple_size<M>::value) * parameter_count<typename M::value_type>();
  } else {
    M module{};
    M::visit(module, [&](const char*, auto& field) { n += parameter_count<std::remove_cvref_t<decltype(field)>>(); });
  }
  return n;
}

/// A parameter as an operand: biases, norm weights, tables, embeddings.  Read in the wide type.  @return Var of Shape<E...>
template <Context C, index_t... E>
auto leaf(C& context, const Param<E...>& p) {
  using W = typename C::wide;
  const ParameterTable<typename C::type>& table = context.table();
  Slot* slot = nullptr;
  if constexpr (C::recording) {
    if (table.gradients && p.kind == ParamKind::trained) {
      slot = context.slot(sizeof(W) * static_cast<std::size_t>(Shape<E...>{}.size()));
      slot->data = table.gradients + p.offset;
      slot->state = table.states + p.ordinal;
    }
  }
  W* data = const_cast<W*>(table.masters) + p.offset;  // Var has one pointer type; nobody writes through a parameter
  return Var<W, Shape<E...>, C>{context, dense(data, Shape<E...>{}), slot};
}

/// A matrix as products read it, in the context's type.
template <Context C, index_t... E>
auto weight(C& context, const Param<E...>& p) {
  using T = typename C::type;
  using S = Shape<Shape<E...>::extent(0), Shape<E...>::sample_size() / Shape<E...>::extent(0)>;
  const ParameterTable<T>& table = context.table();
  const bool wanted = C::recording && table.gradients && p.kind == ParamKind::trained;
  return Weight<T, S, C>{dense(table.values + p.offset, S{}), wanted ? table.gradients + p.offset : nullptr,
                         wanted ? table.states + p.ordinal : nullptr};
}

}  // namespace sra
