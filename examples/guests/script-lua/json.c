/* JSON to Lua and back.
 *
 *   null            json.null, which is no nil: a table can hold it
 *   integer         an integer of 64 bits, a float beyond them
 *   array           a table with the keys 1 to n and the metatable of json.array, so that an empty one stays an array
 *   object          a table with strings as keys
 *
 * Strings of Lua are bytes, those of JSON are text: what is no UTF-8 is an error, and so are numbers that are not finite. */
#include "json.h"

#include "lauxlib.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As deep as the host's own parser goes; each level takes a frame of the C stack. */
enum { DEPTH_MAX = 127 };

/* Names in the registry: of the metatables of arrays and of null, and of null itself. */
static const char ARRAY[] = "json.array", NIL[] = "json.null", NIL_ITSELF[] = "json.null itself";

/* --- bytes of UTF-8 ----------------------------------------------------------------------------------------------- */

/* How many bytes the character at `at` takes; 0 if it is none. */
static int character(const unsigned char *at, const unsigned char *end) {
    if (*at < 0x80) return 1;
    int length = *at < 0xc2 ? 0 : *at < 0xe0 ? 2 : *at < 0xf0 ? 3 : *at < 0xf5 ? 4 : 0;
    if (length == 0 || end - at < length) return 0;
    for (int next = 1; next < length; next++)
        if ((at[next] & 0xc0) != 0x80) return 0;
    /* Longer than needed, a half of a surrogate pair, beyond the last character. */
    if (*at == 0xe0 && at[1] < 0xa0) return 0;
    if (*at == 0xed && at[1] > 0x9f) return 0;
    if (*at == 0xf0 && at[1] < 0x90) return 0;
    if (*at == 0xf4 && at[1] > 0x8f) return 0;
    return length;
}

/* --- a text to a value -------------------------------------------------------------------------------------------- */

struct reader {
    lua_State *lua;
    const unsigned char *start, *at, *end;
};

static _Noreturn void refuse(struct reader *in, const char *what) {
    luaL_error(in->lua, "%s at byte %d", what, (int)(in->at - in->start));
    abort();
}

/* The text has a NUL behind it, as every string of Lua has: it may be looked at. */
static int peek(struct reader *in) {
    while (in->at < in->end && strchr(" \t\r\n", *in->at) && *in->at) in->at++;
    return in->at < in->end ? *in->at : 0;
}

static void read_value(struct reader *in, int depth);

static unsigned hex(struct reader *in) {
    unsigned code = 0;
    for (int digit = 0; digit < 4; digit++, in->at++) {
        if (!isxdigit(*in->at)) refuse(in, "a broken escape");
        code = code << 4 | (unsigned)(*in->at <= '9' ? *in->at - '0' : (*in->at | 0x20) - 'a' + 10);
    }
    return code;
}

/* What follows \u, surrogate pairs as the one character that they are. */
static void read_code(struct reader *in, luaL_Buffer *text) {
    unsigned code = hex(in);
    if (code >= 0xd800 && code < 0xdc00 && in->at[0] == '\\' && in->at[1] == 'u') {
        in->at += 2;
        unsigned low = hex(in);
        if (low < 0xdc00 || low > 0xdfff) refuse(in, "half a surrogate pair");
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    } else if (code >= 0xd800 && code <= 0xdfff) {
        refuse(in, "half a surrogate pair");
    }
    char *out = luaL_prepbuffsize(text, 4);
    int length = 0;
    if (code < 0x80) {
        out[length++] = (char)code;
    } else {
        if (code < 0x800) {
            out[length++] = (char)(0xc0 | code >> 6);
        } else {
            if (code < 0x10000) {
                out[length++] = (char)(0xe0 | code >> 12);
            } else {
                out[length++] = (char)(0xf0 | code >> 18);
                out[length++] = (char)(0x80 | (code >> 12 & 0x3f));
            }
            out[length++] = (char)(0x80 | (code >> 6 & 0x3f));
        }
        out[length++] = (char)(0x80 | (code & 0x3f));
    }
    luaL_addsize(text, length);
}

static void read_string(struct reader *in) {
    static const char names[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    luaL_Buffer text;
    luaL_buffinit(in->lua, &text);
    for (in->at++; in->at < in->end && *in->at != '"';) {
        if (*in->at < 0x20) refuse(in, "a control character in a string");
        if (*in->at == '\\') {
            const char *name = in->at[1] ? strchr(names, in->at[1]) : NULL;
            if (!name && in->at[1] != 'u') refuse(in, "a broken escape");
            in->at += 2;
            if (name) luaL_addchar(&text, meant[name - names]);
            else read_code(in, &text);
        } else {
            const unsigned char *from = in->at;
            while (in->at < in->end && *in->at >= 0x20 && *in->at != '"' && *in->at != '\\') {
                int length = character(in->at, in->end);
                if (!length) refuse(in, "a string that is no UTF-8");
                in->at += length;
            }
            luaL_addlstring(&text, (const char *)from, (size_t)(in->at - from));
        }
    }
    if (in->at >= in->end) refuse(in, "a string without an end");
    in->at++;
    luaL_pushresult(&text);
}

static void digits(struct reader *in) {
    if (*in->at < '0' || *in->at > '9') refuse(in, "a broken number");
    while (*in->at >= '0' && *in->at <= '9') in->at++;
}

static void read_number(struct reader *in) {
    const char *from = (const char *)in->at;
    int is_integer = 1;
    if (*in->at == '-') in->at++;
    if (*in->at == '0') in->at++;
    else digits(in);
    if (*in->at == '.') {
        is_integer = 0;
        in->at++;
        digits(in);
    }
    if ((*in->at | 0x20) == 'e') {
        is_integer = 0;
        in->at++;
        if (*in->at == '+' || *in->at == '-') in->at++;
        digits(in);
    }
    /* Lua's own reading of a number goes to the text's end, so it is given a copy; what overflows becomes a float. */
    const char *text = lua_pushlstring(in->lua, from, (size_t)((const char *)in->at - from));
    if (!is_integer || !strcmp(text, "-0")) {
        double number = strtod(text, NULL);
        if (!isfinite(number)) refuse(in, "a number beyond what a float holds");
        lua_pushnumber(in->lua, number);
    } else {
        lua_stringtonumber(in->lua, text);
    }
    lua_remove(in->lua, -2);
}

static void read_array(struct reader *in, int depth) {
    lua_newtable(in->lua);
    luaL_setmetatable(in->lua, ARRAY);
    in->at++;
    if (peek(in) == ']') {
        in->at++;
        return;
    }
    for (lua_Integer key = 1;; key++) {
        read_value(in, depth);
        lua_rawseti(in->lua, -2, key);
        int next = peek(in);
        if (next != ',' && next != ']') refuse(in, "no comma");
        in->at++;
        if (next == ']') return;
    }
}

static void read_object(struct reader *in, int depth) {
    lua_newtable(in->lua);
    in->at++;
    if (peek(in) == '}') {
        in->at++;
        return;
    }
    for (;;) {
        if (peek(in) != '"') refuse(in, "no key");
        read_string(in);
        if (peek(in) != ':') refuse(in, "no colon");
        in->at++;
        read_value(in, depth);
        lua_rawset(in->lua, -3);
        int next = peek(in);
        if (next != ',' && next != '}') refuse(in, "no comma");
        in->at++;
        if (next == '}') return;
    }
}

static int reads(struct reader *in, const char *word) {
    size_t length = strlen(word);
    if (strncmp((const char *)in->at, word, length)) return 0;
    in->at += length;
    return 1;
}

static void read_value(struct reader *in, int depth) {
    if (depth == 0) refuse(in, "values nested too deeply");
    luaL_checkstack(in->lua, 8, "values nested too deeply");
    switch (peek(in)) {
    case '{': return read_object(in, depth - 1);
    case '[': return read_array(in, depth - 1);
    case '"': return read_string(in);
    case '-': case '0': case '1': case '2': case '3': case '4': case '5': case '6': case '7': case '8': case '9':
        return read_number(in);
    }
    if (reads(in, "true")) lua_pushboolean(in->lua, 1);
    else if (reads(in, "false")) lua_pushboolean(in->lua, 0);
    else if (reads(in, "null")) lua_getfield(in->lua, LUA_REGISTRYINDEX, NIL_ITSELF);
    else refuse(in, in->at < in->end ? "no value" : "the end in place of a value");
}

int json_decode(lua_State *lua) {
    size_t length;
    const char *text = luaL_checklstring(lua, -1, &length);
    const unsigned char *start = (const unsigned char *)text;
    struct reader in = {lua, start, start, start + length};
    read_value(&in, DEPTH_MAX);
    peek(&in);
    if (in.at < in.end) refuse(&in, "more than one value");
    lua_remove(lua, -2);
    return 1;
}

/* --- a value to a text -------------------------------------------------------------------------------------------- */

/* One text is written at a time, since nothing of a script runs meanwhile; its memory is used again. */
static struct {
    char *bytes;
    size_t used, room;
} out;

static void put(lua_State *lua, const char *bytes, size_t count) {
    if (out.room - out.used < count) {
        size_t room = (out.used + count) * 2 + 256;
        char *more = realloc(out.bytes, room);
        if (!more) luaL_error(lua, "not enough memory");
        out.bytes = more;
        out.room = room;
    }
    memcpy(out.bytes + out.used, bytes, count);
    out.used += count;
}

static void write_string(lua_State *lua, int index) {
    size_t length;
    const unsigned char *at = (const unsigned char *)lua_tolstring(lua, index, &length), *end = at + length;
    put(lua, "\"", 1);
    while (at < end) {
        const unsigned char *from = at;
        while (at < end && *at >= 0x20 && *at != '"' && *at != '\\') {
            int bytes = character(at, end);
            if (!bytes) luaL_error(lua, "a string is no UTF-8");
            at += bytes;
        }
        put(lua, (const char *)from, (size_t)(at - from));
        if (at < end) {
            char escape[8];
            int bytes = *at >= 0x20 ? snprintf(escape, sizeof escape, "\\%c", *at)
                        : *at == '\n' ? snprintf(escape, sizeof escape, "\\n")
                                      : snprintf(escape, sizeof escape, "\\u%04x", *at);
            put(lua, escape, (size_t)bytes);
            at++;
        }
    }
    put(lua, "\"", 1);
}

static void write_number(lua_State *lua, int index) {
    char text[32];
    int length;
    if (lua_isinteger(lua, index)) {
        length = snprintf(text, sizeof text, LUA_INTEGER_FMT, lua_tointeger(lua, index));
    } else {
        double number = lua_tonumber(lua, index);
        if (!isfinite(number)) luaL_error(lua, "a number is not finite");
        /* The shortest that reads as the same number. */
        for (int precision = 15;; precision++) {
            length = snprintf(text, sizeof text, "%.*g", precision, number);
            if (precision == 17 || strtod(text, NULL) == number) break;
        }
    }
    put(lua, text, (size_t)length);
}

static void write_value(lua_State *lua, int depth);

/* Whether the table on top is an array: marked as one, or of the keys 1 to n. */
static int is_array(lua_State *lua, lua_Integer *length) {
    lua_Integer keys = 0, whole = 0, last = 0;
    for (lua_pushnil(lua); lua_next(lua, -2); lua_pop(lua, 1)) {
        keys++;
        if (!lua_isinteger(lua, -2)) continue;
        whole++;
        lua_Integer key = lua_tointeger(lua, -2);
        if (key < 1) luaL_error(lua, "a table has a key below 1");
        if (key > last) last = key;
    }
    int is_marked = 0;
    if (lua_getmetatable(lua, -1)) {
        luaL_getmetatable(lua, ARRAY);
        is_marked = lua_rawequal(lua, -1, -2);
        lua_pop(lua, 2);
    }
    *length = last;
    if (keys == 0) return is_marked;
    if (whole == 0 && !is_marked) return 0;
    if (whole != keys) luaL_error(lua, "a table has keys of an array and others");
    if (last != keys) luaL_error(lua, "an array has holes: json.null can fill them");
    return 1;
}

static void write_table(lua_State *lua, int depth) {
    lua_Integer length;
    if (is_array(lua, &length)) {
        put(lua, "[", 1);
        for (lua_Integer key = 1; key <= length; key++) {
            if (key > 1) put(lua, ",", 1);
            lua_rawgeti(lua, -1, key);
            write_value(lua, depth);
        }
        put(lua, "]", 1);
        return;
    }
    put(lua, "{", 1);
    const char *between = "";
    for (lua_pushnil(lua); lua_next(lua, -2); between = ",") {
        if (lua_type(lua, -2) != LUA_TSTRING) luaL_error(lua, "a key is a %s", luaL_typename(lua, -2));
        put(lua, between, strlen(between));
        write_string(lua, -2);
        put(lua, ":", 1);
        write_value(lua, depth);
    }
    put(lua, "}", 1);
}

/* Takes the value off the stack. */
static void write_value(lua_State *lua, int depth) {
    if (depth == 0) luaL_error(lua, "values nested too deeply");
    luaL_checkstack(lua, 8, "values nested too deeply");
    switch (lua_type(lua, -1)) {
    case LUA_TNIL: put(lua, "null", 4); break;
    case LUA_TBOOLEAN: lua_toboolean(lua, -1) ? put(lua, "true", 4) : put(lua, "false", 5); break;
    case LUA_TNUMBER: write_number(lua, -1); break;
    case LUA_TSTRING: write_string(lua, -1); break;
    case LUA_TTABLE: write_table(lua, depth - 1); break;
    default:
        if (!json_is_null(lua)) luaL_error(lua, "a %s has no form in JSON", luaL_typename(lua, -1));
        put(lua, "null", 4);
    }
    lua_pop(lua, 1);
}

int json_encode(lua_State *lua) {
    out.used = 0;
    write_value(lua, DEPTH_MAX);
    lua_pushlstring(lua, out.bytes, out.used);
    return 1;
}

/* --- the table of scripts ----------------------------------------------------------------------------------------- */

static int json_array(lua_State *lua) {
    lua_settop(lua, 1);
    if (lua_isnil(lua, 1)) lua_newtable(lua);
    luaL_checktype(lua, -1, LUA_TTABLE);
    luaL_setmetatable(lua, ARRAY);
    return 1;
}

static int json_null_text(lua_State *lua) {
    lua_pushliteral(lua, "null");
    return 1;
}

/* Functions of scripts look at their first argument, and at it alone. */
static int encode(lua_State *lua) {
    luaL_checkany(lua, 1);
    lua_settop(lua, 1);
    return json_encode(lua);
}

static int decode(lua_State *lua) {
    lua_settop(lua, 1);
    return json_decode(lua);
}

int json_is_null(lua_State *lua) { return luaL_testudata(lua, -1, NIL) != NULL; }

int json_open(lua_State *lua) {
    static const luaL_Reg functions[] = {{"encode", encode}, {"decode", decode}, {"array", json_array}, {NULL, NULL}};
    luaL_newmetatable(lua, ARRAY);
    lua_pop(lua, 1);
    luaL_newlib(lua, functions);
    lua_newuserdatauv(lua, 0, 0);
    luaL_newmetatable(lua, NIL);
    lua_pushcfunction(lua, json_null_text);
    lua_setfield(lua, -2, "__tostring");
    lua_setmetatable(lua, -2);
    lua_pushvalue(lua, -1);
    lua_setfield(lua, LUA_REGISTRYINDEX, NIL_ITSELF);
    lua_setfield(lua, -2, "null");
    return 1;
}
