// Between frames, which the stack moves, and arrays, which the virtual network carries.

package import MartletStack

extension RawSpan {
    /// The bytes, copied.
    package var array: [UInt8] {
        // SAFETY: the buffer is as long as the span, and all of it is written.
        unsafe withUnsafeBytes { source in
            unsafe [UInt8](unsafeUninitializedCapacity: source.count) { bytes, count in
                unsafe UnsafeMutableRawBufferPointer(bytes).copyMemory(from: source)
                count = source.count
            }
        }
    }
}

extension Burst {
    /// A frame of the burst's pool that holds `bytes`; nil if all are taken.
    ///
    /// - Precondition: a frame of the pool has room for them.
    package func frame(_ bytes: [UInt8]) -> Frame? {
        guard var frame = takeFrame() else { return nil }
        frame.setLength(bytes.count)
        var place = frame.mutableBytes
        // SAFETY: the span is just as long as the array.
        unsafe place.withUnsafeMutableBytes { unsafe $0.copyBytes(from: bytes) }
        return frame
    }
}
