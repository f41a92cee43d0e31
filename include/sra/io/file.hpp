// Files that survive what may happen: atomic replacement, appending of whole lines, and a read-only map.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>
#include <sra/core/error.hpp>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace sra {

namespace detail {

/// "who: where: what: No such file or directory", with the reason taken from `code` (a value of errno).
inline Error system_failure(std::string_view who, std::string_view where, std::string_view what, int code) {
  return Error(text(who, ": ", where, ": ", what, ": ", std::generic_category().message(code)));
}

/// Owner of a file descriptor; closes it in the end.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int value) : value_(value) {}
  Descriptor(Descriptor&& other) noexcept : value_(std::exchange(other.value_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(value_, other.value_);
    return *this;
  }
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  int get() const { return value_; }
  explicit operator bool() const { return value_ >= 0; }
  /// Closes now; 0 or the value of errno.  An interrupted close has closed.
  int close() {
    const int status = ::close(std::exchange(value_, -1));
    return status == 0 || errno == EINTR ? 0 : errno;
  }

 private:
  int value_ = -1;
};

/// Opens without leaking the descriptor to child processes.
inline Descriptor open_file(const std::filesystem::path& path, int flags) {
  int value = -1;
  do value = ::open(path.c_str(), flags | O_CLOEXEC, 0666);
  while (value < 0 && errno == EINTR);
  return Descriptor(value);
}

/// Writes everything, however many calls it takes; returns how many bytes went out (all of them, or errno tells why
/// not).
inline std::size_t write_fully(int descriptor, const void* data, std::size_t bytes) {
  std::size_t done = 0;
  while (done < bytes) {
    const auto n = ::write(descriptor, static_cast<const char*>(data) + done, bytes - done);
    if (n < 0 && errno == EINTR) continue;
    if (n == 0) errno = EIO;
    if (n <= 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

}  // namespace detail

/// Where the contents of atomic_write go; every write is checked.
class FileWriter {
 public:
  FileWriter(int descriptor, std::string path) : descriptor_(descriptor), path_(std::move(path)) {}

  /// Appends `bytes` bytes.  @throws Error, with the system's reason (a full disk, say)
  void write(const void* data, std::size_t bytes) {
    if (detail::write_fully(descriptor_, data, bytes) != bytes) {
      const int code = errno;
      throw detail::system_failure("atomic_write", path_, text("cannot write ", bytes, " bytes at byte ", written_),
                                   code);
    }
    written_ += bytes;
  }
  void write(std::string_view bytes) { write(bytes.data(), bytes.size()); }

  /// Bytes written so far.
  std::size_t written() const { return written_; }

 private:
  int descriptor_;
  std::string path_;
  std::size_t written_ = 0;
};

namespace detail {

inline constexpr std::string_view temporary_suffix = ".sra-tmp";

/// A locked file ".name.<pid>-<time>.sra-tmp" beside `path`, removed unless it was renamed to `path`.
/// The lock tells a living writer's file from one that a killed process left behind.
class Temporary {
 public:
  explicit Temporary(const std::filesystem::path& path)
      : path_(path), folder_(path.has_parent_path() ? path.parent_path() : std::filesystem::path(".")) {
    const std::string prefix = text(".", path.filename().string().substr(0, 200), ".", ::getpid(), "-");
    do {
      const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
      name_ = folder_ / text(prefix, now, temporary_suffix);
      file_ = open_file(name_, O_RDWR | O_CREAT | O_EXCL);
      if (!file_ && errno != EEXIST) throw failure("cannot create a temporary file in " + folder_.string(), errno);
    } while (!file_ || !locked());
  }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;
  ~Temporary() {
    if (!renamed_) ::unlink(name_.c_str());
  }

  int descriptor() const { return file_.get(); }

  /// Makes the contents durable, then the name: fsync of the file, rename, fsync of the folder.
  void publish() {
    if (synced(file_.get()) != 0) throw failure("cannot bring the contents to disk", errno);
    if (::rename(name_.c_str(), path_.c_str()) != 0) throw failure("cannot rename the temporary file", errno);
    renamed_ = true;
    if (const int code = file_.close()) throw failure("was replaced, but closing it failed", code);
    const Descriptor folder = open_file(folder_, O_RDONLY | O_DIRECTORY);
    const bool durable = folder && (synced(folder.get()) == 0 || errno == EINVAL);  // EINVAL: needs no fsync here
    if (!durable) throw failure("was replaced, but bringing its folder to disk failed", errno);
  }

 private:
  static int synced(int descriptor) {
    int result;
    do result = ::fsync(descriptor);
    while (result != 0 && errno == EINTR);
    return result;
  }
  Error failure(const std::string& what, int code) const {
    return system_failure("atomic_write", path_.string(), what, code);
  }

  /// Locks the new file; false if another process took it for abandoned in between and removed it.
  bool locked() const {
    struct stat status {};
    ::flock(file_.get(), LOCK_EX);  // where locks are not supported, nobody removes anything either
    return ::fstat(file_.get(), &status) == 0 && status.st_nlink > 0;
  }

  std::filesystem::path path_, folder_, name_;
  Descriptor file_;
  bool renamed_ = false;
};

}  // namespace detail

/// Removes the temporary files that killed processes left in `folder`; those that somebody is still writing stay.
/// @return how many were removed; 0 too if there is no such folder
inline index_t remove_abandoned(const std::filesystem::path& folder) {
  index_t removed = 0;
  std::error_code ignored;
  for (std::filesystem::directory_iterator at(folder, ignored), end; !ignored && at != end; at.increment(ignored)) {
    const std::string name = at->path().filename().string();
    std::error_code unreadable;
    if (!name.starts_with('.') || !name.ends_with(detail::temporary_suffix)) continue;
    if (!at->is_regular_file(unreadable)) continue;
    const auto file = detail::open_file(at->path(), O_RDWR | O_NOFOLLOW | O_NONBLOCK);
    if (file && ::flock(file.get(), LOCK_EX | LOCK_NB) == 0) removed += ::unlink(at->path().c_str()) == 0;
  }
  return removed;
}

/// Replaces the file at `path` by what `writer(FileWriter&)` writes, as a whole or not at all: the bytes go to a
/// temporary file in the same folder, which is brought to disk and then renamed.  Whatever fails, `writer` included,
/// the temporary is removed and the old file survives; after a kill, remove_abandoned() removes it.
/// A symbolic link at `path` is replaced, not followed.
/// @throws Error "atomic_write: path: what: reason of the system"; what `writer` throws is passed on
template <class Writer>
void atomic_write(const std::filesystem::path& path, Writer&& writer) {
  std::error_code ignored;
  if (path.filename().empty() || std::filesystem::is_directory(path, ignored)) {
    throw Error(text("atomic_write: ", path.string(), ": expected the name of a file, got a folder"));
  }
  detail::Temporary temporary(path);
  FileWriter out(temporary.descriptor(), path.string());
  std::forward<Writer>(writer)(out);
  temporary.publish();
}

/// A file of lines that grows at its end, for logs.
class LineFile {
 public:
  /// Opens for appending, makes the file if there is none; a last line without its end is cut off.
  /// @throws Error "LineFile: path: …" if the file cannot be opened or repaired
  explicit LineFile(const std::filesystem::path& path)
      : path_(path.string()), file_(detail::open_file(path, O_RDWR | O_CREAT | O_APPEND)) {
    if (!file_) throw failure("cannot open", errno);
    struct stat status {};
    if (::fstat(file_.get(), &status) != 0) throw failure("cannot read its size", errno);
    regular_ = S_ISREG(status.st_mode);
    if (regular_) repair(status.st_size);
  }

  /// Hands whole lines to the system.  @throws Error if they could not be written; then nothing of them stays
  void append(std::string_view lines) {
    const std::size_t written = detail::write_fully(file_.get(), lines.data(), lines.size());
    if (written == lines.size()) return;
    const int code = errno;
    if (regular_ && written > 0) {
      const off_t end = ::lseek(file_.get(), 0, SEEK_CUR);
      if (::ftruncate(file_.get(), end - static_cast<off_t>(written)) != 0) {
        throw failure("cannot remove half a line", errno);
      }
    }
    throw failure(text("cannot write ", lines.size(), " bytes"), code);
  }

 private:
  Error failure(const std::string& what, int code) const {
    return detail::system_failure("LineFile", path_, what, code);
  }

  /// Cuts the file behind its last end of line.
  void repair(off_t size) {
    char block[4096];
    off_t end = size;
    while (end > 0) {
      const off_t begin = end > off_t{sizeof block} ? end - off_t{sizeof block} : 0;
      const ssize_t n = ::pread(file_.get(), block, static_cast<std::size_t>(end - begin), begin);
      if (n != end - begin) throw failure("cannot read its end", n < 0 ? errno : EIO);
      const std::size_t last = std::string_view(block, static_cast<std::size_t>(n)).rfind('\n');
      end = last == std::string_view::npos ? begin : begin + static_cast<off_t>(last) + 1;
      if (last != std::string_view::npos) break;
    }
    if (end != size && ::ftruncate(file_.get(), end) != 0) throw failure("cannot cut off half a line", errno);
  }

  std::string path_;
  detail::Descriptor file_;
  bool regular_ = false;
};

/// A file's bytes, mapped read-only for as long as the object lives.  Replacing the file by atomic_write leaves the map
/// as it was; a file that somebody else truncates in place meanwhile ends the process (SIGBUS), as with every map.
class MappedFile {
 public:
  MappedFile() = default;
  /// @throws Error if the file is missing, unreadable, a folder or no regular file
  explicit MappedFile(const std::filesystem::path& path) {
    const auto failure = [&](const char* what) {
      return detail::system_failure("MappedFile", path.string(), what, errno);
    };
    const detail::Descriptor file = detail::open_file(path, O_RDONLY | O_NONBLOCK);
    if (!file) throw failure("cannot open");
    struct stat status {};
    if (::fstat(file.get(), &status) != 0) throw failure("cannot read its size");
    if (!S_ISREG(status.st_mode)) {
      throw Error(text("MappedFile: ", path.string(), ": expected a file, got ",
                       S_ISDIR(status.st_mode) ? "a folder" : "something that is no regular file"));
    }
    size_ = static_cast<std::size_t>(status.st_size);
    if (size_ == 0) return;
    void* address = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.get(), 0);
    if (address == MAP_FAILED) throw failure("cannot map");
    data_ = static_cast<const std::byte*>(address);
  }
  MappedFile(MappedFile&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~MappedFile() {
    if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
  }

  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace sra
