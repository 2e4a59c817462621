// swift-tools-version: 6.3
// The comparison of Martlet's echo server with C and SwiftNIO peers, and the micro-benchmarks. A package of its own,
// so that nothing here becomes a dependency of the library.

import PackageDescription

let warnings: [CSetting] = [.unsafeFlags(["-Wall", "-Wextra"])]
let strict: [SwiftSetting] = [.swiftLanguageMode(.v6), .enableUpcomingFeature("ExistentialAny")]
let argumentParser: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")

/// As the examples are built: an async function goes on where its caller runs, without a look at executors.
let nonsending: [SwiftSetting] = [.enableUpcomingFeature("NonisolatedNonsendingByDefault")]

let package = Package(
    name: "martlet-benchmarks",
    dependencies: [
        .package(name: "martlet", path: ".."),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
        // Without its traits, which replace the allocator and the runtime's hooks.
        .package(url: "https://github.com/ordo-one/benchmark", from: "1.38.1", traits: []),
    ],
    targets: [
        .target(name: "PeerSupport", path: "Peers/support", cSettings: warnings),
        .executableTarget(
            name: "epoll-echo", dependencies: ["PeerSupport"], path: "Peers/epoll-echo", cSettings: warnings),
        .executableTarget(
            name: "uring-echo", dependencies: ["PeerSupport"], path: "Peers/uring-echo", cSettings: warnings,
            linkerSettings: [.linkedLibrary("uring")]),
        // Finds liblwip when it starts, and is a program that says so if its headers were not there when it was built.
        .executableTarget(
            name: "lwip-pair", dependencies: ["PeerSupport"], path: "Peers/lwip-pair",
            cSettings: warnings + [.unsafeFlags(["-I/usr/include/lwip"])]),
        .executableTarget(name: "load", dependencies: ["PeerSupport"], path: "Peers/load", cSettings: warnings),
        .executableTarget(
            name: "nio-echo",
            dependencies: [
                argumentParser, "PeerSupport",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            path: "Peers/nio-echo", swiftSettings: strict),
        // Depends on what it starts, so that `swift run compare` builds all of it.
        .executableTarget(
            name: "compare",
            dependencies: [
                argumentParser, "epoll-echo", "uring-echo", "load", "nio-echo", "martlet-echo", "lwip-pair",
                "stack-pair", "runtime-pair", "martlet-forward",
            ],
            path: "Tools/compare", swiftSettings: strict),
        .executableTarget(
            name: "martlet-echo",
            dependencies: [argumentParser, "PeerSupport", .product(name: "Martlet", package: "martlet")],
            path: "Servers/martlet-echo", swiftSettings: strict + nonsending),
        .executableTarget(
            name: "stack-pair",
            dependencies: [argumentParser, "PeerSupport", .product(name: "MartletStack", package: "martlet")],
            path: "Servers/stack-pair", swiftSettings: strict),
        .executableTarget(
            name: "runtime-pair",
            dependencies: [
                argumentParser, "PeerSupport", .product(name: "Martlet", package: "martlet"),
                .product(name: "MartletStack", package: "martlet"),
            ],
            path: "Servers/runtime-pair", swiftSettings: strict + nonsending),
        .executableTarget(
            name: "martlet-forward",
            dependencies: [
                argumentParser, "PeerSupport", .product(name: "Martlet", package: "martlet"),
                .product(name: "MartletStack", package: "martlet"),
            ],
            path: "Forwarders/martlet-forward", swiftSettings: strict),
        .executableTarget(
            name: "Micro",
            dependencies: [
                .product(name: "Benchmark", package: "benchmark"), .product(name: "Martlet", package: "martlet"),
            ],
            path: "Benchmarks/Micro", swiftSettings: strict,
            plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")]),
    ]
)
