// `#expect` takes its expression apart, and cannot when that calls a value without copies, or a mutating function.

import Testing

/// Records an issue if the values differ. Both are computed before, so the first may come from a `~Copyable` table.
func expect<Value: Equatable>(
    _ actual: Value, is expected: Value, _ comment: Comment? = nil, sourceLocation: SourceLocation = #_sourceLocation
) {
    #expect(actual == expected, comment, sourceLocation: sourceLocation)
}
