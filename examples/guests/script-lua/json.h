/* JSON to Lua and back. */
#include "lua.h"

/* Pushes the table `json` of scripts: encode, decode, array, null. */
int json_open(lua_State *lua);

/* Replaces the text on top by its value; raises what is wrong with it. */
int json_decode(lua_State *lua);

/* Replaces the value on top by its text; raises what has no form in JSON. */
int json_encode(lua_State *lua);

/* Whether the value on top is json.null. */
int json_is_null(lua_State *lua);
