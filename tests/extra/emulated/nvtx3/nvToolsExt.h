// As much of NVTX as the library uses, which writes down what it is told.
// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

/// What was told, in order.
inline std::vector<std::string> nvtx_calls;

using nvtxDomainHandle_t = const char*;
inline constexpr int NVTX_VERSION = 3, NVTX_EVENT_ATTRIB_STRUCT_SIZE = 48, NVTX_MESSAGE_TYPE_ASCII = 1,
                     NVTX_PAYLOAD_TYPE_DOUBLE = 5;
struct nvtxEventAttributes_t {
  int version, size, payloadType;
  union {
    double dValue;
  } payload;
  int messageType;
  union {
    const char* ascii;
  } message;
};

inline nvtxDomainHandle_t nvtxDomainCreateA(const char* name) {
  nvtx_calls.push_back(std::string("create ") + name);
  return name;
}
inline void nvtxDomainDestroy(nvtxDomainHandle_t domain) { nvtx_calls.push_back(std::string("destroy ") + domain); }
inline int nvtxDomainRangePushEx(nvtxDomainHandle_t domain, const nvtxEventAttributes_t* a) {
  const bool whole = a->version == NVTX_VERSION && a->size == NVTX_EVENT_ATTRIB_STRUCT_SIZE &&
                     a->messageType == NVTX_MESSAGE_TYPE_ASCII && a->payloadType == NVTX_PAYLOAD_TYPE_DOUBLE;
  nvtx_calls.push_back(std::string(whole ? "push " : "wrong ") + domain + " " + a->message.ascii + " " +
                       std::to_string(static_cast<long long>(a->payload.dValue)));
  return 0;
}
inline int nvtxDomainRangePop(nvtxDomainHandle_t domain) {
  nvtx_calls.push_back(std::string("pop ") + domain);
  return 0;
}
