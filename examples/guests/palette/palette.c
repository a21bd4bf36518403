// Finds the dominant colours of a photo: a task in C, without an SDK.
//
// A command of contract 1: it reads JSON from stdin and writes JSON to stdout. The input is what `thumbs/resize` made:
//     {"swatch": "<768 bytes in base64: 16 by 16 pixels of red, green, blue>", "count": 5}
// and the output names the colours, the most frequent first:
//     {"colours": ["#2b4a6f", ...]}
// Exit code 65 tells the platform that this input will never do, so that it is not tried again.

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIXELS = 16 * 16, SWATCH_BYTES = PIXELS * 3, COUNT_MAX = 16, INPUT_BYTES_MAX = 64 * 1024, DEPTH_MAX = 32 };
enum { EXIT_BAD_INPUT = 65 };

typedef struct {
    unsigned char channel[3];
} Pixel;

// A run of pixels that will be one colour.
typedef struct {
    Pixel *pixels;
    int count;
    int widest;  // the channel in which its pixels differ most
    int range;   // and by how much
} Box;

static _Noreturn void refuse(const char *why) {
    fprintf(stderr, "palette: %s\n", why);
    exit(EXIT_BAD_INPUT);
}

// --- JSON: as much as finding two members of an object needs ---------------------------------------------------------

static const char *skip_space(const char *at) { return at + strspn(at, " \t\r\n"); }

// Past a string that begins at `at`.
static const char *skip_string(const char *at) {
    if (*at != '"') refuse("the input is not JSON: expected a string");
    for (at++; *at != '"'; at++) {
        if (*at == '\\') at++;
        if (*at == '\0') refuse("the input is not JSON: a string has no end");
    }
    return at + 1;
}

// Past any value. What stands in a member that nobody reads is not looked at closely.
static const char *skip_value(const char *at, int depth) {
    if (depth > DEPTH_MAX) refuse("the input is nested too deeply");
    if (*at == '"') return skip_string(at);
    if (*at == '{' || *at == '[') {
        for (at = skip_space(at + 1); *at != '}' && *at != ']'; at = skip_space(at)) {
            if (*at == '\0') refuse("the input is not JSON: it ends early");
            at = *at == ',' || *at == ':' ? at + 1 : skip_value(at, depth + 1);
        }
        return at + 1;
    }
    size_t length = strcspn(at, ",:]} \t\r\n");
    if (length == 0) refuse("the input is not JSON: expected a value");
    return at + length;
}

// The value of a member of the object; refuses an input that is no object or has no such member.
static const char *member(const char *input, const char *name) {
    const char *at = skip_space(input), *found = NULL;
    if (*at != '{') refuse("the input is not a JSON object");
    at = skip_space(at + 1);
    while (*at != '}') {
        const char *key = at;
        at = skip_space(skip_string(at));
        bool same = (size_t)(at - key) > strlen(name) + 1 && strncmp(key + 1, name, strlen(name)) == 0 && key[strlen(name) + 1] == '"';
        if (*at != ':') refuse("the input is not JSON: expected a colon");
        at = skip_space(at + 1);
        if (same) found = at;
        at = skip_space(skip_value(at, 0));
        if (*at == ',') {
            at = skip_space(at + 1);
        } else if (*at != '}') {
            refuse("the input is not JSON: expected a comma or the end of the object");
        }
    }
    if (*skip_space(at + 1) != '\0') refuse("the input is not JSON: something stands after the object");
    if (found == NULL) {
        fprintf(stderr, "palette: the input has no \"%s\"\n", name);
        exit(EXIT_BAD_INPUT);
    }
    return found;
}

static int sextet(char c) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *found = c == '\0' ? NULL : strchr(alphabet, c);
    return found == NULL ? -1 : (int)(found - alphabet);
}

// 768 bytes are 1024 characters of base64 and need no padding.
static void read_swatch(const char *text, Pixel pixels[PIXELS]) {
    if (*text++ != '"') refuse("\"swatch\" is not a string");
    for (int pixel = 0; pixel < PIXELS; pixel++) {
        int bits = 0;
        for (int i = 0; i < 4; i++) {
            if (text[0] == '\\' && text[1] == '/') text++;  // JSON may escape a slash
            int six = sextet(*text);
            if (six < 0) refuse(*text == '"' ? "\"swatch\" has fewer than 768 bytes" : "\"swatch\" is not base64");
            bits = bits << 6 | six;
            text++;
        }
        for (int i = 0; i < 3; i++) pixels[pixel].channel[i] = (unsigned char)(bits >> (16 - 8 * i));
    }
    if (*text != '"') refuse("\"swatch\" has more than 768 bytes");
}

static int read_count(const char *text) {
    char *end;
    long count = strtol(text, &end, 10);
    if (end == text || strchr(",} \t\r\n", *end) == NULL) refuse("\"count\" is not a whole number");
    if (count < 1 || count > COUNT_MAX) refuse("\"count\" is not from 1 to 16");
    return (int)count;
}

// --- median cut: halve the most varied box until there are as many as colours ----------------------------------------

static void measure(Box *box) {
    box->range = -1;
    for (int channel = 0; channel < 3; channel++) {
        int low = 255, high = 0;
        for (int i = 0; i < box->count; i++) {
            int value = box->pixels[i].channel[channel];
            if (value < low) low = value;
            if (value > high) high = value;
        }
        if (high - low > box->range) {
            box->range = high - low;
            box->widest = channel;
        }
    }
}

static int sort_channel;

// Equal pixels stay where no other rule puts them, so the other channels decide: the result is the same everywhere.
static int by_channel(const void *a, const void *b) {
    const Pixel *left = a, *right = b;
    for (int i = 0; i < 3; i++) {
        int channel = (sort_channel + i) % 3;
        int difference = left->channel[channel] - right->channel[channel];
        if (difference != 0) return difference;
    }
    return 0;
}

// The first pixel of the upper half: the cut lies in the middle, moved so that equal values stay together.
static int cut(const Box *box) {
    int at = box->count / 2;
    while (at > 1 && by_channel(&box->pixels[at - 1], &box->pixels[at]) == 0) at--;
    if (by_channel(&box->pixels[at - 1], &box->pixels[at]) != 0) return at;
    for (at = box->count / 2; by_channel(&box->pixels[at - 1], &box->pixels[at]) == 0;) at++;
    return at;
}

// Splits the pixels into at most `wanted` boxes and returns how many there are; a plain photo has fewer colours.
static int split(Pixel pixels[PIXELS], Box boxes[COUNT_MAX], int wanted) {
    int count = 1;
    boxes[0] = (Box){.pixels = pixels, .count = PIXELS};
    measure(&boxes[0]);
    while (count < wanted) {
        Box *most = &boxes[0];
        for (int i = 1; i < count; i++) {
            if (boxes[i].range * boxes[i].count > most->range * most->count) most = &boxes[i];
        }
        if (most->range == 0) break;
        sort_channel = most->widest;
        qsort(most->pixels, (size_t)most->count, sizeof(Pixel), by_channel);
        int half = cut(most);
        boxes[count] = (Box){.pixels = most->pixels + half, .count = most->count - half};
        most->count = half;
        measure(most);
        measure(&boxes[count]);
        count++;
    }
    return count;
}

static int by_count(const void *a, const void *b) { return ((const Box *)b)->count - ((const Box *)a)->count; }

static void print_colour(const Box *box) {
    int sum[3] = {0};
    for (int i = 0; i < box->count; i++) {
        for (int channel = 0; channel < 3; channel++) sum[channel] += box->pixels[i].channel[channel];
    }
    printf("\"#%02x%02x%02x\"", sum[0] / box->count, sum[1] / box->count, sum[2] / box->count);
}

int main(void) {
    static char input[INPUT_BYTES_MAX + 1];
    static Pixel pixels[PIXELS];
    static Box boxes[COUNT_MAX];

    size_t length = fread(input, 1, INPUT_BYTES_MAX, stdin);
    if (length == INPUT_BYTES_MAX) refuse("the input is too long");
    if (memchr(input, '\0', length) != NULL) refuse("the input is not JSON: it has a zero byte");
    read_swatch(member(input, "swatch"), pixels);
    int wanted = read_count(member(input, "count"));

    int count = split(pixels, boxes, wanted);
    qsort(boxes, (size_t)count, sizeof(Box), by_count);
    fputs("{\"colours\": [", stdout);
    for (int i = 0; i < count; i++) {
        if (i > 0) fputs(", ", stdout);
        print_colour(&boxes[i]);
    }
    puts("]}");
    return 0;
}
