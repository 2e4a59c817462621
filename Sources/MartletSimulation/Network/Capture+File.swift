// Writing a capture to a file: the only place of the virtual network that meets the operating system.

internal import Glibc

/// Why a file could not be written.
public struct FileError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The path as it was given.
    public var path: String
    /// What failed, as errno says it.
    public var code: Int32

    /// The error `code` of a system call on `path`.
    public init(path: String, code: Int32) {
        self.path = path
        self.code = code
    }

    /// The path, and the system's words for the error.
    public var description: String {
        // SAFETY: strerror gives a string that lives at least until the next call on this thread, and it is copied here.
        let reason = unsafe strerror(code).map { unsafe String(cString: $0) } ?? "error \(code)"
        return "\(path): \(reason)"
    }
}

extension Capture {
    /// Writes the capture to a file, which is created, or replaced if it is there.
    ///
    /// - Throws: ``FileError`` if it cannot be opened or written; then it may be there in part.
    public func write(toFile path: String) throws(FileError) {
        // SAFETY: `open` is variadic, and takes a mode after O_CREAT.
        let file = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard file >= 0 else { throw FileError(path: path, code: errno) }
        var written = 0
        var failure: Int32 = 0
        while written < bytes.count && failure == 0 {
            // SAFETY: the pointer is to the bytes of the buffer from `written` to its end, and is used only here.
            let count = unsafe bytes[written...].withUnsafeBytes { unsafe Glibc.write(file, $0.baseAddress, $0.count) }
            if count > 0 {
                written += count
            } else if count == 0 || errno != EINTR {
                failure = count == 0 ? EIO : errno
            }
        }
        if close(file) != 0 && failure == 0 { failure = errno }
        if failure != 0 { throw FileError(path: path, code: failure) }
    }
}
