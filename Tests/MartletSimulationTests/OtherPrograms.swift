// Programs that may be installed, as a second opinion on what was written here.

import Glibc

enum OtherPrograms {
    static func has(_ name: String) -> Bool {
        unsafe system("command -v \(name) >/dev/null 2>&1") == 0
    }

    /// What a command writes to its standard output.
    static func output(of command: String) -> String {
        guard let stream = unsafe popen("\(command) 2>/dev/null", "r") else { return "" }
        defer { unsafe pclose(stream) }
        return String(decoding: unsafe bytes(of: stream), as: UTF8.self)
    }

    static func contents(of path: String) -> [UInt8] {
        guard let stream = unsafe fopen(path, "r") else { return [] }
        defer { unsafe fclose(stream) }
        return unsafe bytes(of: stream)
    }

    /// A path that no other test of this process has, and no other process.
    static func temporaryPath(_ name: String) -> String { "/tmp/martlet-\(getpid())-\(name).pcapng" }

    private static func bytes(of stream: UnsafeMutablePointer<FILE>) -> [UInt8] {
        var bytes: [UInt8] = []
        while true {
            let byte = unsafe fgetc(stream)
            if byte == EOF { return bytes }
            bytes.append(UInt8(byte))
        }
    }
}
