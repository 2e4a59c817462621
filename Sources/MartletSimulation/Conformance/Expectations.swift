// How a check says what it expects, and how it waits: promises that other tasks keep, under one deadline for all of it.

internal import Martlet
internal import Synchronization

func expect(
    _ condition: Bool, _ message: @autoclosure () -> String, file: String = #fileID, line: Int = #line
) throws(ConformanceFailure) {
    if !condition { throw ConformanceFailure(description: "\(message()) (\(file):\(line))") }
}

func expectEqual<T: Equatable>(
    _ found: T, _ expected: T, _ what: @autoclosure () -> String, file: String = #fileID, line: Int = #line
) throws(ConformanceFailure) {
    try expect(found == expected, "\(what()): expected \(expected), found \(found)", file: file, line: line)
}

/// Expects `body` to throw `error`.
nonisolated(nonsending) func expectError<R>(
    _ error: NetworkError, _ what: String, file: String = #fileID, line: Int = #line, _ body: () async throws -> R
) async throws(ConformanceFailure) {
    try await expectError(oneOf: [error], what, file: file, line: line, body)
}

/// Expects `body` to throw one of `errors`.
nonisolated(nonsending) func expectError<R>(
    oneOf errors: [NetworkError], _ what: String, file: String = #fileID, line: Int = #line, _ body: () async throws -> R
) async throws(ConformanceFailure) {
    let result: R
    do { result = try await body() } catch {
        let found = error as? NetworkError
        let isExpected = found.map { errors.contains($0) } ?? false
        return try expect(isExpected, "\(what): expected to throw \(errors), threw \(error)", file: file, line: line)
    }
    try expect(false, "\(what): expected to throw \(errors), returned \(result)", file: file, line: line)
}

/// A value that one task provides and others wait for. Waiting does not end by cancellation.
final class Promise<Value: Sendable>: Sendable {
    private struct State {
        var result: Result<Value, any Error>?
        var waiting: [UnsafeContinuation<Value, any Error>] = []
    }

    private let state = Mutex(State())

    /// Keeps the promise. Only the first call counts.
    func keep(_ value: Value) { resolve(.success(value)) }

    func fail(_ error: any Error) { resolve(.failure(error)) }

    var isKept: Bool { state.withLock { $0.result != nil } }

    private func resolve(_ result: Result<Value, any Error>) {
        let waiting = state.withLock { state in
            if state.result == nil { state.result = result }
            defer { unsafe state.waiting = [] }
            return unsafe state.waiting
        }
        for unsafe continuation in unsafe waiting { unsafe continuation.resume(with: result) }
    }

    var value: Value {
        get async throws {
            try await unsafe withUnsafeThrowingContinuation { continuation in
                let result = state.withLock { state in
                    if state.result == nil { unsafe state.waiting.append(continuation) }
                    return state.result
                }
                if let result { unsafe continuation.resume(with: result) }
            }
        }
    }
}

extension Promise where Value == Void {
    func keep() { keep(()) }
}

/// A number that several tasks count.
final class Count: Sendable {
    private let state = Mutex((value: 0, largest: 0))

    var value: Int { state.withLock { $0.value } }
    var largest: Int { state.withLock { $0.largest } }

    func add(_ amount: Int) {
        state.withLock { state in
            state.value += amount
            state.largest = max(state.largest, state.value)
        }
    }
}

/// What several tasks have collected.
final class Collected<Element: Sendable>: Sendable {
    private let elements = Mutex<[Element]>([])

    var all: [Element] { elements.withLock { $0 } }

    func append(_ element: Element) { elements.withLock { $0.append(element) } }
}

/// Runs `body`, and throws if it has not ended after `patience`. A body that then still hangs is left behind.
func bounded(
    by patience: Duration, _ what: String, _ body: @escaping @Sendable () async throws -> Void
) async throws {
    let end = Promise<Void>()
    let work = Task {
        do {
            try await body()
            end.keep()
        } catch {
            end.fail(error)
        }
    }
    let guardian = Task {
        do { try await Task.sleep(for: patience) } catch { return }
        end.fail(ConformanceFailure(description: "\(what) has not ended after \(patience)"))
        work.cancel()
    }
    defer { guardian.cancel() }
    try await end.value
}

/// Catches what `body` throws.
nonisolated(nonsending) func outcome<R>(_ body: () async throws -> R) async -> Result<R, any Error> {
    do { return .success(try await body()) } catch { return .failure(error) }
}
