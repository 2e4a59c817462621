// A capture as it lies in its file (draft-ietf-opsawg-pcapng), for the tests of what writes it.

import Glibc
import Testing

/// Whoever looks into pcapng files.
protocol ReadsCaptures {}

extension ReadsCaptures {
    /// The blocks of a pcapng file: type and body.
    func blocks(_ path: String) throws -> [(type: UInt32, body: [UInt8])] {
        let bytes = try readFile(path)
        var blocks: [(UInt32, [UInt8])] = []
        var offset = 0
        while offset + 12 <= bytes.count {
            let type = number(bytes, offset)
            let length = Int(number(bytes, offset + 4))
            try #require(length >= 12 && length % 4 == 0 && offset + length <= bytes.count)
            try #require(number(bytes, offset + length - 4) == length, "the length is repeated at the end")
            blocks.append((type, Array(bytes[offset + 8..<offset + length - 4])))
            offset += length
        }
        #expect(offset == bytes.count)
        return blocks
    }

    func number(_ bytes: [UInt8], _ offset: Int) -> UInt32 {
        (0..<4).reduce(0) { $0 | UInt32(bytes[offset + $1]) << UInt32(8 * $1) }
    }

    private func readFile(_ path: String) throws -> [UInt8] {
        let file = unsafe open(path, O_RDONLY)
        try #require(file >= 0)
        defer { close(file) }
        var all: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 1 << 20)
        while true {
            let count = unsafe part.withUnsafeMutableBytes { unsafe read(file, $0.baseAddress, $0.count) }
            try #require(count >= 0)
            if count == 0 { return all }
            all += part[..<count]
        }
    }
}
