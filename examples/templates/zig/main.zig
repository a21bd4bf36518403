//! Reads JSON on stdin, writes JSON on stdout. Exit code 65 refuses the input for good, any other failure is tried again.
const std = @import("std");

const refused = 65;

const Summary = struct { count: usize, mean: f64, min: f64, max: f64 };

pub fn main(init: std.process.Init) !u8 {
    const arena = init.arena.allocator();
    var in_buffer: [4096]u8 = undefined;
    var out_buffer: [4096]u8 = undefined;
    var stdin = std.Io.File.stdin().readerStreaming(init.io, &in_buffer);
    var stdout = std.Io.File.stdout().writerStreaming(init.io, &out_buffer);
    const input = try stdin.interface.allocRemaining(arena, .unlimited);
    const numbers = std.json.parseFromSliceLeaky([]f64, arena, input, .{}) catch {
        std.debug.print("an array of numbers is wanted\n", .{});
        return refused;
    };
    if (numbers.len == 0) {
        std.debug.print("no numbers\n", .{});
        return refused;
    }
    var summary = Summary{ .count = numbers.len, .mean = 0, .min = numbers[0], .max = numbers[0] };
    for (numbers) |number| {
        summary.mean += number / @as(f64, @floatFromInt(numbers.len));
        summary.min = @min(summary.min, number);
        summary.max = @max(summary.max, number);
    }
    try stdout.interface.print("{f}\n", .{std.json.fmt(summary, .{})});
    try stdout.interface.flush();
    return 0;
}
