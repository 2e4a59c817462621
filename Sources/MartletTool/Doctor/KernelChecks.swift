// The kernel transport: the kernel itself, the two drivers, tried as a runtime would, and TCP over the loopback.

import Glibc
import Martlet

enum KernelChecks {
    static func run() async -> [Check] {
        let cpu = CPUs.usable[0]
        let ioUring = await errorOfRuntime(on: cpu, .ioUring)
        let epoll = await errorOfRuntime(on: cpu, .epoll)
        return [
            kernel(Machine.release),
            uring(
                ioUring, disabled: Machine.sysctl("kernel.io_uring_disabled"),
                isFiltered: ProcessStatus()?["Seccomp"] == "2",
                release: Machine.release),
            driver(ioUring: ioUring, epoll: epoll),
            await loopback("TCP over IPv4", "127.0.0.1:0", isRequired: true),
            await loopback("TCP over IPv6", "[::1]:0", isRequired: false),
        ]
    }

    /// Major and minor version.
    static func version(_ release: String) -> (Int, Int) {
        let numbers = release.split(whereSeparator: { !$0.isNumber }).prefix(2).compactMap { Int($0) }
        return (numbers.first ?? 0, numbers.count > 1 ? numbers[1] : 0)
    }

    static func kernel(_ release: String) -> Check {
        if version(release) >= (6, 1) { return .ok("kernel", "Linux \(release)", isRequired: true) }
        let use =
            version(release) >= (6, 0) ? "io_uring is used without DEFER_TASKRUN" : "epoll is used instead of io_uring"
        return .warning(
            "kernel", "Linux \(release): \(use)", remedy: "Linux 6.1 or newer serves with fewer system calls")
    }

    // MARK: The drivers

    /// What a runtime with that driver comes to.
    enum Outcome: Hashable, Sendable {
        case works(String)
        case fails(NetworkError)
    }

    private static func errorOfRuntime(on cpu: Int, _ driver: DriverChoice) async -> Outcome {
        do {
            let configuration = Runtime.Configuration(cores: .these([cpu]), driver: driver, logger: nil)
            return .works(try await Runtime.run(configuration) { $0.driver })
        } catch {
            return .fails(error as? NetworkError ?? .system(errno: 0, during: "\(error)"))
        }
    }

    static func uring(_ outcome: Outcome, disabled: String?, isFiltered: Bool, release: String) -> Check {
        let error: NetworkError
        switch outcome {
        case .works(let driver):
            if driver.contains("DEFER_TASKRUN") { return .ok("io_uring", "\(driver): the best of the set-ups") }
            return .ok("io_uring", "\(driver): the second best of the set-ups, before Linux 6.1")
        case .fails(let failure): error = failure
        }
        guard case .system(let code, _) = error else {
            return .warning(
                "io_uring", "\(error): epoll is used", remedy: "please report this, with your kernel's version")
        }
        let (reason, remedy) =
            switch (code, disabled) {
            case (EPERM, "2"?):
                ("switched off by kernel.io_uring_disabled=2", "as root: sysctl -w kernel.io_uring_disabled=0")
            case (EPERM, "1"?):
                (
                    "kept for a group by kernel.io_uring_disabled=1",
                    "join the group of the sysctl kernel.io_uring_group, or as root: sysctl -w kernel.io_uring_disabled=0"
                )
            case (EPERM, _) where isFiltered, (EACCES, _) where isFiltered, (ENOSYS, _) where isFiltered:
                (
                    "blocked by a seccomp filter, as containers have by default",
                    "allow io_uring_setup, io_uring_enter and io_uring_register in the container's seccomp profile "
                        + "(docker run --security-opt seccomp=FILE)"
                )
            case (EPERM, _), (EACCES, _):
                ("refused by a security module (\(Machine.text(of: code)))", "allow io_uring in its policy")
            case (ENOSYS, _):
                ("not in this kernel (\(release))", "use a kernel with CONFIG_IO_URING, best 6.1 or newer")
            case (EINVAL, _): ("too old in this kernel (\(release))", "use Linux 6.0 or newer, best 6.1")
            case (ENOMEM, _): ("refused for want of locked memory", "raise 'ulimit -l', or use Linux 5.12 or newer")
            default: ("refused: \(error)", "please report this, with your kernel's version")
            }
        return .warning("io_uring", "\(reason); epoll is used instead", remedy: remedy)
    }

    static func driver(ioUring: Outcome, epoll: Outcome) -> Check {
        switch (ioUring, epoll) {
        case (.works, .works): return .ok("driver", "io_uring by default, epoll on request", isRequired: true)
        case (.fails, .works): return .ok("driver", "epoll", isRequired: true)
        case (.works, .fails(let error)):
            return .warning(
                "driver", "io_uring works, epoll does not: \(error)", remedy: "leave the driver at automatic")
        case (.fails, .fails(let error)):
            return .missing(
                "driver", "neither io_uring nor epoll works: \(error)", isRequired: true,
                remedy: "see what is said of io_uring above, and of file descriptors below")
        }
    }

    // MARK: The loopback

    /// Echoes a line over a loopback address.
    private static func loopback(_ name: String, _ address: String, isRequired: Bool) async -> Check {
        do {
            let configuration = Runtime.Configuration(cores: .these([CPUs.usable[0]]), logger: nil)
            let echo = try await Runtime.run(configuration) { runtime in
                let listener = try await runtime.cores[0].listen(on: SocketAddress(address))
                async let served: Void = {
                    guard let connection = try await listener.accept(within: .seconds(5)) else { return }
                    for try await bytes in connection { try await connection.send(bytes) }
                }()
                let echo = try await runtime.withConnection(to: listener.address, within: .seconds(5)) { connection in
                    try await connection.send("martlet")
                    try await connection.finish()
                    var echo: [UInt8] = []
                    while let bytes = try await connection.receive(within: .seconds(5)) { echo += bytes }
                    return echo
                }
                try await served
                return echo
            }
            if echo.elementsEqual("martlet".utf8) {
                return .ok(name, "connects, sends and receives", isRequired: isRequired)
            }
            return .missing(
                name, "what came back is not what was sent", isRequired: isRequired, remedy: "please report this")
        } catch {
            return .missing(
                name, "\(error)", isRequired: isRequired,
                remedy: isRequired
                    ? "bring the loopback up: ip link set lo up" : "only if you need IPv6: enable it for lo")
        }
    }
}
