// Kernels by name in the timelines of NVIDIA's profilers.  Needs the headers of NVTX, which the CUDA Toolkit has.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/backend/launch.hpp>

#include <nvtx3/nvToolsExt.h>

namespace sra {

/// Puts every launch into a range of the domain "sra" with its kernel's name, and with the bytes that it moves as payload:
///
///     sra::NvtxRanges ranges;
///     trainer.engine().workspace().observer = &ranges;   // must outlive the steps
///
/// A range is as long as the launch on the host; profilers show the device's time of what was launched in it.  Steps under an
/// observer are launched kernel by kernel, not replayed.
class NvtxRanges final : public LaunchObserver {
 public:
  NvtxRanges() : domain_(nvtxDomainCreateA("sra")) {}
  NvtxRanges(const NvtxRanges&) = delete;
  NvtxRanges& operator=(const NvtxRanges&) = delete;
  ~NvtxRanges() override { nvtxDomainDestroy(domain_); }

  void before(const char* kernel, const Cost& cost) override {
    nvtxEventAttributes_t attributes{};
    attributes.version = NVTX_VERSION;
    attributes.size = NVTX_EVENT_ATTRIB_STRUCT_SIZE;
    attributes.messageType = NVTX_MESSAGE_TYPE_ASCII;
    attributes.message.ascii = kernel;
    attributes.payloadType = NVTX_PAYLOAD_TYPE_DOUBLE;
    attributes.payload.dValue = cost.bytes;
    nvtxDomainRangePushEx(domain_, &attributes);
  }
  void after(const char*) override { nvtxDomainRangePop(domain_); }

 private:
  nvtxDomainHandle_t domain_;
};

}  // namespace sra
