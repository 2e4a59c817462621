// A link of any kind, at the cost of one indirect call a burst: see `Link.swift` for what the other ways cost.

public import MartletStack

/// A link of any kind, for whoever keeps many of kinds not known before.
public struct AnyLink: Link, ~Copyable {
    @usableFromInline let box: LinkBox

    /// Takes a link over.
    public init<Wrapped: Link & ~Copyable>(_ link: consuming Wrapped) { box = BoxedLink(link) }

    public var name: String { box.name }
    public var properties: LinkProperties { box.properties }
    public var state: LinkState { box.state }
    public var counters: LinkCounters {
        get { box.counters }
        set { box.counters = newValue }
    }

    @inlinable
    public mutating func receive(into burst: inout Burst) -> Int { box.receive(into: &burst) }

    @inlinable
    public mutating func transmit(_ burst: inout Burst) -> Int { box.transmit(&burst) }

    @inlinable
    @discardableResult
    public mutating func transmitOrDrop(_ burst: inout Burst) -> Int { box.transmitOrDrop(&burst) }

    public mutating func reclaim() -> Int { box.reclaim() }
    public mutating func prepareToSleep(for wish: LinkWish) -> LinkSleep { box.prepareToSleep(for: wish) }
    public mutating func wokeUp() { box.wokeUp() }
    public mutating func refresh() -> Bool { box.refresh() }
}

/// The way to a link whose kind is not known.
@usableFromInline
class LinkBox {
    var name: String { fatalError("every kind of link has its own") }
    var properties: LinkProperties { fatalError("every kind of link has its own") }
    var state: LinkState { fatalError("every kind of link has its own") }
    var counters: LinkCounters {
        get { fatalError("every kind of link has its own") }
        set {}
    }
    @usableFromInline func receive(into burst: inout Burst) -> Int { 0 }
    @usableFromInline func transmit(_ burst: inout Burst) -> Int { 0 }
    @usableFromInline func transmitOrDrop(_ burst: inout Burst) -> Int { 0 }
    func reclaim() -> Int { 0 }
    func prepareToSleep(for wish: LinkWish) -> LinkSleep { .ready }
    func wokeUp() {}
    func refresh() -> Bool { false }
}

private final class BoxedLink<Wrapped: Link & ~Copyable>: LinkBox {
    private var link: Wrapped

    init(_ link: consuming Wrapped) { self.link = link }

    override var name: String { link.name }
    override var properties: LinkProperties { link.properties }
    override var state: LinkState { link.state }
    override var counters: LinkCounters {
        get { link.counters }
        set { link.counters = newValue }
    }
    override func receive(into burst: inout Burst) -> Int { link.receive(into: &burst) }
    override func transmit(_ burst: inout Burst) -> Int { link.transmit(&burst) }
    override func transmitOrDrop(_ burst: inout Burst) -> Int { link.transmitOrDrop(&burst) }
    override func reclaim() -> Int { link.reclaim() }
    override func prepareToSleep(for wish: LinkWish) -> LinkSleep { link.prepareToSleep(for: wish) }
    override func wokeUp() { link.wokeUp() }
    override func refresh() -> Bool { link.refresh() }
}
