//! What every language must be able to do: see ../README.md. A command: the task is argv[1], its input is on stdin.
const std = @import("std");

/// The exit code of a task that refuses its input for good.
const never = 65;

pub fn main(init: std.process.Init) !u8 {
    const arena = init.arena.allocator();
    const args = try init.minimal.args.toSlice(arena);
    var in_buffer: [4096]u8 = undefined;
    var out_buffer: [4096]u8 = undefined;
    var stdin = std.Io.File.stdin().readerStreaming(init.io, &in_buffer);
    var stdout = std.Io.File.stdout().writerStreaming(init.io, &out_buffer);
    const out = &stdout.interface;
    const input = try stdin.interface.allocRemaining(arena, .unlimited);
    const code = try run(arena, if (args.len > 1) args[1] else "", input, out);
    try out.flush();
    return code;
}

fn run(arena: std.mem.Allocator, task: []const u8, input: []const u8, out: *std.Io.Writer) !u8 {
    const is = struct {
        fn named(text: []const u8, name: []const u8) bool {
            return std.mem.eql(u8, text, name);
        }
    }.named;
    if (is(task, "sum")) {
        var total: f64 = 0;
        for (try std.json.parseFromSliceLeaky([]f64, arena, input, .{})) |number| total += number;
        try out.print("{d}\n", .{total});
    } else if (is(task, "echo")) {
        try out.writeAll(input);
    } else if (is(task, "busy")) {
        std.debug.print("try again\n", .{});
        return 1;
    } else if (is(task, "never")) {
        std.debug.print("never again\n", .{});
        return never;
    } else if (is(task, "say")) {
        for (1..4) |line| std.debug.print("line {d}: grüße\n", .{line});
        try out.writeAll("3\n");
    } else if (is(task, "babble")) {
        try out.writeAll("no JSON\n");
    } else if (is(task, "quit")) {
        return try std.json.parseFromSliceLeaky(u8, arena, input, .{});
    } else if (is(task, "panic")) {
        @panic("as asked");
    } else {
        std.debug.print("no task {s}\n", .{task});
        return never;
    }
    return 0;
}
