// Plain values by number, in one allocation at a fixed address: what an Array would be if it never asked who else owns it.

/// `count` values of a trivial type. Memory is touched when a value is first written: a large table costs address space.
@safe
@usableFromInline
struct PlainTable<Element: BitwiseCopyable>: ~Copyable {
    // SAFETY: allocated for `count` elements, all of them initialised before they are read: by the initialiser, or, where it
    // leaves them to the owner, by the owner's free list, which hands out only what it has written. Indices are checked.
    @usableFromInline let memory: UnsafeMutablePointer<Element>
    @usableFromInline let count: Int

    /// - Precondition: `count` is not negative.
    @inlinable
    init(repeating element: Element, count: Int) {
        precondition(count >= 0, "a table has no negative size")
        self.count = count
        unsafe memory = .allocate(capacity: count)
        unsafe memory.initialize(repeating: element, count: count)
    }

    /// A table whose elements the owner writes before it reads them. Memory is touched as it is written.
    @inlinable
    init(capacity: Int) {
        precondition(capacity >= 0, "a table has no negative size")
        count = capacity
        unsafe memory = .allocate(capacity: capacity)
    }

    @inlinable
    deinit { unsafe memory.deallocate() }

    /// - Precondition: `index` is in `0 ..< count`.
    @inlinable
    subscript(index: Int) -> Element {
        unsafeAddress {
            precondition(index >= 0 && index < count, "beyond the table")
            return unsafe UnsafePointer(memory + index)
        }
        unsafeMutableAddress {
            precondition(index >= 0 && index < count, "beyond the table")
            return unsafe memory + index
        }
    }
}
