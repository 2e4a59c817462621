// One line on standard error that is written over and over while something runs. It is shown to people only: where standard
// error is no terminal, nothing is written.

import Foundation
import Glibc
import Synchronization

final class LiveLine: Sendable {
    let isShown: Bool
    private let isDirty = Atomic(false)

    init(isShown: Bool = isatty(STDERR_FILENO) == 1) { self.isShown = isShown }

    func show(_ text: String) {
        guard isShown else { return }
        isDirty.store(true, ordering: .relaxed)
        write("\r\u{1B}[K\(text)")
    }

    /// Takes the line away again.
    func clear() {
        if isDirty.exchange(false, ordering: .relaxed) { write("\r\u{1B}[K") }
    }

    private func write(_ text: String) { FileHandle.standardError.write(Data(text.utf8)) }
}
