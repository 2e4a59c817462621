// What is under way on all links, by the instant of its arrival. A binary heap in an array.

internal import MartletStack

/// Frames under way, in a total order: the instant of arrival, then the order in which they were put in.
struct ArrivalQueue {
    struct Arrival {
        var instant: Instant
        /// Breaks ties, so that a run does not depend on the shape of the heap.
        var order: UInt64
        var link: Int
        /// The frame's number among those sent on its link.
        var number: Int
        var isDuplicate: Bool
        var sentAt: Instant
        var frame: [UInt8]

        func precedes(_ other: Arrival) -> Bool {
            instant == other.instant ? order < other.order : instant < other.instant
        }
    }

    private var heap: [Arrival] = []

    var count: Int { heap.count }
    var first: Arrival? { heap.first }

    mutating func insert(_ arrival: Arrival) {
        heap.append(arrival)
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard heap[child].precedes(heap[parent]) else { break }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    mutating func popFirst() -> Arrival? {
        guard let first = heap.first else { return nil }
        let last = heap.removeLast()
        if heap.isEmpty { return first }
        heap[0] = last
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count {
                if heap[child].precedes(heap[least]) { least = child }
            }
            if least == parent { return first }
            heap.swapAt(parent, least)
            parent = least
        }
    }
}
