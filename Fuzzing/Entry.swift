// Where libFuzzer comes in: bytes go to the target that MARTLET_FUZZ_TARGET names, and a violation stops the process.

import Glibc

private let target: FuzzTarget = {
    let name = unsafe getenv("MARTLET_FUZZ_TARGET").map { unsafe String(cString: $0) } ?? "none"
    guard let target = FuzzTarget(rawValue: name) else { fatalError("no such target: \(name)") }
    return target
}()

@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    // SAFETY: libFuzzer passes `count` bytes that are there until this returns.
    let bytes = unsafe [UInt8](UnsafeBufferPointer(start: start, count: count))
    do { try target.run(bytes) } catch { fatalError(error.description) }
    return 0
}
