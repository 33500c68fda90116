//! Arguments and standard output, with Zig's `wasm32-wasi`.
const std = @import("std");

export fn fib(n: u32) u64 {
    var a: u64 = 0;
    var b: u64 = 1;
    for (0..n) |_| {
        const next = a + b;
        a = b;
        b = next;
    }
    return a;
}

export fn sum(n: u32) f64 {
    var total: f64 = 0;
    for (1..n + 1) |i| total += 1.0 / @as(f64, @floatFromInt(i));
    return total;
}

pub fn main() void {
    std.debug.print("fib(50) = {d}, sum(4) = {d:.6}\n", .{ fib(50), sum(4) });
}
