// swift-tools-version: 6.2
import PackageDescription

/// CI asks for this. Users of the package are not stopped by a warning that a newer compiler invents.
let asErrors: [SwiftSetting] =
    Context.environment["MARTLET_WARNINGS_AS_ERRORS"] == nil ? [] : [.treatAllWarnings(as: .error)]

let strict: [SwiftSetting] =
    [
        .swiftLanguageMode(.v6),
        .strictMemorySafety(),
        .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("InternalImportsByDefault"),
        .enableUpcomingFeature("MemberImportVisibility"),
        .enableExperimentalFeature("Lifetimes"),
    ] + asErrors

/// The packet path is single-threaded by construction, and debug builds and every test still check exclusivity.
/// In release builds a dynamic check on each access to a core's state costs more than the work it guards.
let unchecked: [SwiftSetting] = [
    .unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release))
]

let examples = [
    "EchoServer", "EchoClient", "HTTPServer", "TCPProxy", "ChatServer", "EmbeddedStack", "Forwarder", "PacketCounter",
    "Firewall", "Tunnel", "KeyValueServer", "LoadBalancer", "Router",
]

let package = Package(
    name: "martlet",
    products: [
        .library(name: "Martlet", targets: ["Martlet"]),
        .library(name: "MartletStack", targets: ["MartletStack"]),
        .library(name: "MartletSimulation", targets: ["MartletSimulation"]),
        .executable(name: "martlet", targets: ["MartletTool"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
    ],
    targets: [
        .target(
            name: "CMartlet",
            cSettings: asErrors.isEmpty
                ? [] : [.unsafeFlags(["-Wall", "-Wextra"]), .treatAllWarnings(as: .error)],
            linkerSettings: [.linkedLibrary("uring")]),
        .target(name: "MartletStack", swiftSettings: strict + unchecked),
        .target(
            name: "Martlet",
            dependencies: ["CMartlet", "MartletStack", .product(name: "Logging", package: "swift-log")],
            swiftSettings: strict + unchecked),
        .target(
            name: "MartletSimulation", dependencies: ["CMartlet", "Martlet", "MartletStack"], swiftSettings: strict),
        .executableTarget(
            name: "MartletTool",
            dependencies: [
                "Martlet", "MartletStack", .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Histogram", package: "hdrhistogram-swift"),
            ],
            swiftSettings: strict),
        .target(name: "NetworkRig", dependencies: ["CMartlet"], path: "Tests/NetworkRig", swiftSettings: strict),
        .testTarget(
            name: "MartletStackTests", dependencies: ["MartletStack", "MartletSimulation"], swiftSettings: strict),
        .testTarget(
            name: "MartletSimulationTests", dependencies: ["Martlet", "MartletSimulation", "MartletStack"],
            swiftSettings: strict),
        .testTarget(
            name: "MartletToolTests",
            dependencies: [
                "MartletTool", "Martlet", "MartletStack", "NetworkRig",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: strict),
        .testTarget(
            name: "MartletTests",
            dependencies: ["Martlet", "MartletStack", "MartletSimulation", "CMartlet", "NetworkRig"],
            swiftSettings: strict),
    ]
        + examples.map { name in
            .executableTarget(
                name: name,
                dependencies: name == "EmbeddedStack"
                    ? ["MartletStack"]
                    : ["Martlet", "MartletStack", .product(name: "ArgumentParser", package: "swift-argument-parser")],
                path: "Examples", exclude: examples.filter { $0 != name }.map { "\($0).swift" },
                sources: ["\(name).swift"],
                swiftSettings: [.swiftLanguageMode(.v6)] + asErrors)
        }
)
