// How a check says what it expects, and how it waits: promises that other tasks keep, under one deadline for all of it.

internal import Martlet

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
    oneOf errors: [NetworkError], _ what: String, file: String = #fileID, line: Int = #line,
    _ body: () async throws -> R
) async throws(ConformanceFailure) {
    let result: R
    do { result = try await body() } catch {
        let found = error as? NetworkError
        let isExpected = found.map { errors.contains($0) } ?? false
        return try expect(isExpected, "\(what): expected to throw \(errors), threw \(error)", file: file, line: line)
    }
    try expect(false, "\(what): expected to throw \(errors), returned \(result)", file: file, line: line)
}

/// A value that one task provides and others wait for.
final class Promise<Value: Sendable>: Sendable {
    private struct State {
        var result: Result<Value, any Error>?
        var waiting: [Int: CheckedContinuation<Value, any Error>] = [:]
        var next = 0
    }

    private let state = Guarded(State())

    /// Keeps the promise. Only the first call counts.
    func keep(_ value: Value) { resolve(.success(value)) }

    func fail(_ error: any Error) { resolve(.failure(error)) }

    var isKept: Bool { state.withLock { $0.result != nil } }

    func resolve(_ result: Result<Value, any Error>) {
        let waiting = state.withLock { state in
            if state.result == nil { state.result = result }
            defer { state.waiting = [:] }
            return state.waiting
        }
        for continuation in waiting.values { continuation.resume(with: result) }
    }

    /// Waits for the value. A cancelled task waits no longer.
    var value: Value {
        get async throws {
            let number = state.withLock { state in
                state.next += 1
                return state.next
            }
            return try await withTaskCancellationHandler {
                try await withCheckedThrowingContinuation { wait(as: number, $0, despiteCancellation: false) }
            } onCancel: {
                let continuation = state.withLock { $0.waiting.removeValue(forKey: number) }
                continuation?.resume(throwing: CancellationError())
            }
        }
    }

    /// Waits for the value as one who does not hear of cancellation.
    var valueDespiteCancellation: Value {
        get async throws {
            try await withCheckedThrowingContinuation { wait(as: -1, $0, despiteCancellation: true) }
        }
    }

    private func wait(as number: Int, _ continuation: CheckedContinuation<Value, any Error>, despiteCancellation: Bool)
    {
        let result = state.withLock { state -> Result<Value, any Error>? in
            if let result = state.result { return result }
            if !despiteCancellation, Task.isCancelled { return .failure(CancellationError()) }
            state.waiting[number] = continuation
            return nil
        }
        if let result { continuation.resume(with: result) }
    }
}

extension Promise where Value == Void {
    func keep() { keep(()) }
}

/// A number that several tasks count.
final class Count: Sendable {
    private let state = Guarded((value: 0, largest: 0))

    var value: Int { state.withLock { $0.value } }
    var largest: Int { state.withLock { $0.largest } }

    func add(_ amount: Int) {
        state.withLock { state in
            state.value += amount
            state.largest = max(state.largest, state.value)
        }
    }

    /// Adds one, and returns the sum.
    func next() -> Int {
        state.withLock { state in
            state.value += 1
            state.largest = max(state.largest, state.value)
            return state.value
        }
    }
}

/// What several tasks have collected.
final class Collected<Element: Sendable>: Sendable {
    private let elements = Guarded<[Element]>([])

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

/// Cancels the task that calls this.
func cancelCurrentTask() {
    unsafe withUnsafeCurrentTask { task in unsafe task?.cancel() }
}

/// Where an operation is called: by a child task, which stays on the core, or by a task of the global pool.
enum Caller: CaseIterable {
    case child
    case stranger
}

/// Starts `operation`, cancels it when it waits, and expects that it then throws `error`.
nonisolated(nonsending) func expectCancelled<R: Sendable>(
    _ what: String, by caller: Caller, throwing error: NetworkError = .cancelled, file: String = #fileID,
    line: Int = #line,
    _ operation: @escaping @Sendable () async throws -> R
) async throws {
    let hasBegun = Promise<Void>()
    let expectation: @Sendable () async throws -> Void = {
        hasBegun.keep()
        try await expectError(error, what, file: file, line: line, operation)
    }
    switch caller {
    case .child:
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await expectation() }
            // The child went on to its wait in the same breath: this task runs after that.
            try await hasBegun.value
            group.cancelAll()
            try await group.waitForAll()
        }
    case .stranger:
        let task = Task.detached { try await expectation() }
        try await hasBegun.value
        task.cancel()
        try await task.value
    }
}
