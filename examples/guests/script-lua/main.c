/* The interpreter of script tasks in Lua, as a command. argv is the task and the script, whose global function of that name is
 * called with the input. What it returns is the output; what it raises is the failure, for good where that is a table with a
 * field `permanent`, as permanent("why") raises. */
#include "json.h"
#include "lauxlib.h"
#include "lualib.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RETURNED = 1, REFUSED = 65 };

/* The name of the script in messages: `script:3: why`. */
static const char CHUNK[] = "=script", PERMANENT[] = "permanent";

/* The tag of the exceptions that longjmp throws: compilers expect it of the standard library, and Zig's lacks it. */
__asm__(".tagtype __c_longjmp i32\n"
        ".weak __c_longjmp\n"
        "__c_longjmp:\n");

/* What table.sort begins with for long tables. No chance, so that one script and input give one output. */
uint32_t arc4random(void) { return 0; }

static _Noreturn void end(int code, const char *message) {
    fprintf(stderr, "%s\n", message);
    exit(code);
}

/* The message of the error on top. Where it was raised is in the trace, and no part of it. */
static const char *message_of(lua_State *lua) {
    if (lua_istable(lua, -1) && lua_getfield(lua, -1, "message") == LUA_TNIL) lua_pop(lua, 1);
    const char *message = luaL_tolstring(lua, -1, NULL), *place = CHUNK + 1;
    size_t name = strlen(place);
    if (strncmp(message, place, name) || message[name] != ':') return message;
    size_t line = strspn(message + name + 1, "0123456789");
    const char *rest = message + name + 1 + line;
    return line && !strncmp(rest, ": ", 2) ? rest + 2 : message;
}

/* Ends with the error on top: its message comes last and is the failure's. */
static _Noreturn void fail(lua_State *lua, int otherwise) {
    int code = otherwise;
    if (lua_istable(lua, -1)) {
        lua_getfield(lua, -1, PERMANENT);
        if (lua_toboolean(lua, -1)) code = REFUSED;
        lua_pop(lua, 1);
    }
    const char *message = message_of(lua);
    end(code, *message ? message : "the script failed");
}

/* Logs where an error was raised, while its frames are still there. */
static int trace(lua_State *lua) {
    luaL_traceback(lua, lua, lua_isstring(lua, 1) ? lua_tostring(lua, 1) : message_of(lua), 1);
    fprintf(stderr, "%s\n", lua_tostring(lua, -1));
    lua_settop(lua, 1);
    return 1;
}

static void call(lua_State *lua, int takes, int gives) {
    int handler = lua_gettop(lua) - takes;
    lua_pushcfunction(lua, trace);
    lua_insert(lua, handler);
    if (lua_pcall(lua, takes, gives, handler) != LUA_OK) fail(lua, RETURNED);
    lua_remove(lua, handler);
}

/* --- what scripts find besides Lua's own -------------------------------------------------------------------------- */

/* To the log: the output is on stdout. */
static int print(lua_State *lua) {
    int count = lua_gettop(lua);
    for (int at = 1; at <= count; at++) {
        size_t length;
        const char *word = luaL_tolstring(lua, at, &length);
        if (at > 1) fputc('\t', stderr);
        fwrite(word, 1, length, stderr);
        lua_pop(lua, 1);
    }
    fputc('\n', stderr);
    return 0;
}

static int permanent_text(lua_State *lua) {
    lua_getfield(lua, 1, "message");
    return 1;
}

/* Raises by itself, so that error(permanent("why")) and permanent("why") are the same. */
static int permanent(lua_State *lua) {
    luaL_tolstring(lua, 1, NULL);
    lua_createtable(lua, 0, 2);
    lua_insert(lua, -2);
    lua_setfield(lua, -2, "message");
    lua_pushboolean(lua, 1);
    lua_setfield(lua, -2, PERMANENT);
    luaL_setmetatable(lua, PERMANENT);
    return lua_error(lua);
}

/* All of Lua's libraries but `package`: a script is one file. */
static int open_libraries(lua_State *lua) {
    static const luaL_Reg libraries[] = {
        {LUA_GNAME, luaopen_base},       {LUA_COLIBNAME, luaopen_coroutine}, {LUA_TABLIBNAME, luaopen_table},
        {LUA_IOLIBNAME, luaopen_io},     {LUA_OSLIBNAME, luaopen_os},        {LUA_STRLIBNAME, luaopen_string},
        {LUA_MATHLIBNAME, luaopen_math}, {LUA_UTF8LIBNAME, luaopen_utf8},    {LUA_DBLIBNAME, luaopen_debug},
        {"json", json_open},
    };
    for (size_t at = 0; at < sizeof libraries / sizeof *libraries; at++) {
        luaL_requiref(lua, libraries[at].name, libraries[at].func, 1);
        lua_pop(lua, 1);
    }
    lua_register(lua, "print", print);
    lua_register(lua, PERMANENT, permanent);
    luaL_newmetatable(lua, PERMANENT);
    lua_pushcfunction(lua, permanent_text);
    lua_setfield(lua, -2, "__tostring");
    return 0;
}

/* --- a task ------------------------------------------------------------------------------------------------------- */

/* Pushes all of stdin. */
static int read_input(lua_State *lua) {
    luaL_Buffer text;
    size_t got;
    luaL_buffinit(lua, &text);
    while ((got = fread(luaL_prepbuffer(&text), 1, LUAL_BUFFERSIZE, stdin)) > 0) luaL_addsize(&text, got);
    luaL_pushresult(&text);
    return 1;
}

/* Pushes the input. One that is null, or is not there, is nil: only within tables is there a json.null. */
static void push_input(lua_State *lua) {
    lua_pushcfunction(lua, read_input);
    call(lua, 0, 1);
    if (lua_rawlen(lua, -1) > 0) {
        lua_pushcfunction(lua, json_decode);
        lua_insert(lua, -2);
        if (lua_pcall(lua, 1, 1, 0) != LUA_OK) {
            fprintf(stderr, "the input cannot be read: %s\n", lua_tostring(lua, -1));
            exit(REFUSED);
        }
        if (!json_is_null(lua)) return;
    }
    lua_pop(lua, 1);
    lua_pushnil(lua);
}

/* Writes the output. For nil there is none: the script may have written it itself, by io.write. */
static int put_output(lua_State *lua) {
    if (!lua_isnil(lua, -1)) {
        lua_pushcfunction(lua, json_encode);
        lua_insert(lua, -2);
        if (lua_pcall(lua, 1, 1, 0) != LUA_OK) {
            fprintf(stderr, "the output cannot be written: %s\n", lua_tostring(lua, -1));
            return REFUSED;
        }
        size_t length;
        const char *text = lua_tolstring(lua, -1, &length);
        if (fwrite(text, 1, length, stdout) != length) return RETURNED;
    }
    return fflush(stdout) == 0 ? 0 : RETURNED;
}

int main(int argc, char **argv) {
    if (argc != 3) end(REFUSED, "the module takes a task and a script: push it with --script FILE");
    const char *task = argv[1], *script = argv[2];
    lua_State *lua = luaL_newstate();
    if (!lua) end(RETURNED, "no memory for the interpreter");
    lua_pushcfunction(lua, open_libraries);
    call(lua, 0, 0);

    /* No attempt mends what does not compile. */
    if (luaL_loadbufferx(lua, script, strlen(script), CHUNK, "t") != LUA_OK) end(REFUSED, lua_tostring(lua, -1));
    call(lua, 0, 0);
    if (lua_getglobal(lua, task) != LUA_TFUNCTION) {
        fprintf(stderr, "the script has no function %s\n", task);
        return REFUSED;
    }
    push_input(lua);
    call(lua, 1, 1);
    return put_output(lua);
}
