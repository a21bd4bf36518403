// Finds the links of a page: a task in C, without an SDK.
//
// A command of contract 1: it reads JSON from stdin, here a string with the page's HTML, and writes JSON to stdout, the list of what
// stands in `href="..."`, in the order of the page. Exit code 65 tells the platform that this input will never do.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE_BYTES_MAX = 1 << 20, EXIT_BAD_INPUT = 65 };

static _Noreturn void refuse(const char *why) {
    fprintf(stderr, "links: %s\n", why);
    exit(EXIT_BAD_INPUT);
}

// What a JSON string says, in place: no text grows when it is unescaped. Letters beyond ASCII that are written as \u become '?';
// an address has none.
static void unescape(char *text) {
    char *to = text;
    if (*text++ != '"') refuse("the input is not a JSON string");
    for (; *text != '"'; text++) {
        if (*text == '\0') refuse("the string has no end");
        if (*text != '\\') {
            *to++ = *text;
            continue;
        }
        switch (*++text) {
        case 'n': *to++ = '\n'; break;
        case 't': *to++ = '\t'; break;
        case 'r':
        case 'b':
        case 'f': *to++ = ' '; break;
        case 'u': {
            if (strspn(text + 1, "0123456789abcdefABCDEF") < 4) refuse("a \\u without four digits");
            char digits[5] = {text[1], text[2], text[3], text[4], '\0'};
            long code = strtol(digits, NULL, 16);
            *to++ = code > 0 && code < 128 ? (char)code : '?';
            text += 4;
            break;
        }
        case '"':
        case '\\':
        case '/': *to++ = *text; break;
        default: refuse("an escape that JSON does not have");
        }
    }
    *to = '\0';
}

static void print_string(const char *text, size_t length) {
    putchar('"');
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\') putchar('\\');
        if (c < ' ') printf("\\u%04x", c);
        else putchar(c);
    }
    putchar('"');
}

int main(void) {
    static char page[PAGE_BYTES_MAX + 1];
    static const char mark[] = "href=\"";

    size_t length = fread(page, 1, PAGE_BYTES_MAX, stdin);
    if (ferror(stdin)) return 1;
    if (length == PAGE_BYTES_MAX) refuse("the page is too large");
    page[length] = '\0';
    memmove(page, page + strspn(page, " \t\r\n"), length + 1 - strspn(page, " \t\r\n"));
    unescape(page);

    const char *between = "";
    putchar('[');
    for (const char *at = page; (at = strstr(at, mark)) != NULL;) {
        at += sizeof mark - 1;
        size_t link = strcspn(at, "\"");
        fputs(between, stdout);
        print_string(at, link);
        between = ",";
        at += link;
    }
    puts("]");
    return 0;
}
