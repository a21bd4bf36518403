/* The interpreter of script tasks: QuickJS as a command. argv is the task and the script, a module whose exported function of
 * that name is called with the input. What it returns, or its promise resolves to, is the output; what it throws is the failure,
 * for good where it has a property `permanent`, as `new Permanent("why")` has. */
#include "quickjs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RETURNED = 1, REFUSED = 65 };

static const char PRELUDE[] =
    "globalThis.Permanent = class Permanent extends Error { name = 'Permanent'; permanent = true; };"
    "globalThis.console = Object.fromEntries(['log', 'debug', 'info', 'warn', 'error'].map((name) => [name, __print]));";

static _Noreturn void end(int code, const char *message) {
    fprintf(stderr, "%s\n", message);
    exit(code);
}

/* Ends with what was thrown: its stack is logged, its message comes last and is the failure's. */
static _Noreturn void fail_with(int otherwise, JSContext *context, JSValue thrown) {
    JSValue stack = JS_GetPropertyStr(context, thrown, "stack");
    const char *frames = JS_IsString(stack) ? JS_ToCString(context, stack) : NULL;
    if (frames && *frames) fputs(frames, stderr);
    JSValue permanent = JS_IsObject(thrown) ? JS_GetPropertyStr(context, thrown, "permanent") : JS_FALSE;
    int code = JS_ToBool(context, permanent) == 1 ? REFUSED : otherwise;
    JSValue said = JS_IsObject(thrown) ? JS_GetPropertyStr(context, thrown, "message") : thrown;
    const char *message = JS_ToCString(context, JS_IsUndefined(said) ? thrown : said);
    end(code, message && *message ? message : "the script failed");
}

static _Noreturn void fail(JSContext *context, JSValue thrown) { fail_with(RETURNED, context, thrown); }

static JSValue checked(JSContext *context, JSValue value) {
    if (JS_IsException(value)) fail(context, JS_GetException(context));
    return value;
}

/* Runs what waits; then what a promise resolved to, or the value itself. */
static JSValue settled(JSContext *context, JSValue value) {
    JSContext *of;
    int ran;
    while ((ran = JS_ExecutePendingJob(JS_GetRuntime(context), &of)) > 0) {}
    if (ran < 0) fail(of, JS_GetException(of));
    if (!JS_IsPromise(value)) return value;
    switch (JS_PromiseState(context, value)) {
    case JS_PROMISE_FULFILLED: return JS_PromiseResult(context, value);
    case JS_PROMISE_REJECTED: fail(context, JS_PromiseResult(context, value));
    default: end(RETURNED, "the script waits for what never happens");
    }
}

static JSValue print(JSContext *context, JSValueConst this, int count, JSValueConst *values) {
    (void)this;
    for (int at = 0; at < count; at++) {
        JSValue text = JS_IsObject(values[at]) ? JS_JSONStringify(context, values[at], JS_UNDEFINED, JS_UNDEFINED)
                                               : JS_DupValue(context, values[at]);
        const char *word = JS_ToCString(context, text);
        if (!word) return JS_EXCEPTION;
        fprintf(stderr, at ? " %s" : "%s", word);
    }
    fputc('\n', stderr);
    return JS_UNDEFINED;
}

/* All of stdin, with a NUL after it. */
static char *read_input(size_t *length) {
    size_t room = 1 << 16, used = 0, got;
    char *bytes = malloc(room + 1);
    while (bytes && (got = fread(bytes + used, 1, room - used, stdin)) > 0) {
        used += got;
        if (used == room) bytes = realloc(bytes, (room *= 2) + 1);
    }
    if (!bytes) end(RETURNED, "no memory for the input");
    bytes[used] = 0;
    *length = used;
    return bytes;
}

int main(int argc, char **argv) {
    if (argc != 3) end(REFUSED, "the module takes a task and a script: push it with --script FILE");
    const char *task = argv[1], *script = argv[2];
    JSRuntime *runtime = JS_NewRuntime();
    JSContext *context = runtime ? JS_NewContext(runtime) : NULL;
    if (!context) end(RETURNED, "no memory for the interpreter");
    /* No bound of its own: that of the sandbox, for frames of Wasm, always comes first. */
    JS_SetMaxStackSize(runtime, 0);
    JSValue global = JS_GetGlobalObject(context);
    JS_SetPropertyStr(context, global, "__print", JS_NewCFunction(context, print, "print", 0));
    checked(context, JS_Eval(context, PRELUDE, strlen(PRELUDE), "prelude", JS_EVAL_TYPE_GLOBAL));

    int compile = JS_EVAL_TYPE_MODULE | JS_EVAL_FLAG_COMPILE_ONLY;
    JSValue module = JS_Eval(context, script, strlen(script), "script", compile);
    /* No attempt mends what does not compile. */
    if (JS_IsException(module)) fail_with(REFUSED, context, JS_GetException(context));
    JSModuleDef *definition = JS_VALUE_GET_PTR(module);
    settled(context, checked(context, JS_EvalFunction(context, module)));
    JSValue exports = checked(context, JS_GetModuleNamespace(context, definition));
    JSValue function = checked(context, JS_GetPropertyStr(context, exports, task));
    if (!JS_IsFunction(context, function)) {
        fprintf(stderr, "the script exports no function %s\n", task);
        return REFUSED;
    }

    size_t length;
    char *text = read_input(&length);
    JSValue input = length ? JS_ParseJSON(context, text, length, "the input") : JS_NULL;
    if (JS_IsException(input)) end(REFUSED, "the input is not JSON");
    JSValue output = settled(context, checked(context, JS_Call(context, function, JS_UNDEFINED, 1, &input)));
    JSValue json = checked(context, JS_JSONStringify(context, output, JS_UNDEFINED, JS_UNDEFINED));
    if (JS_IsUndefined(json)) return puts("null") < 0;
    const char *line = JS_ToCStringLen(context, &length, json);
    return !line || fwrite(line, 1, length, stdout) != length || fflush(stdout) != 0;
}
