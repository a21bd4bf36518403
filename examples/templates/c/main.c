/* Reads JSON on stdin, writes JSON on stdout. Exit code 65 refuses the input for good, any other failure is tried again. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { REFUSED = 65 };

static _Noreturn void refuse(const char *why) {
    fprintf(stderr, "%s\n", why);
    exit(REFUSED);
}

/* The next character that is no space. */
static int next(void) {
    int c;
    do c = getchar();
    while (c == ' ' || c == '\n' || c == '\r' || c == '\t');
    return c;
}

int main(void) {
    double number, sum = 0, min = INFINITY, max = -INFINITY;
    unsigned long count = 0;
    int c = next();
    if (c != '[') refuse("an array of numbers is wanted");
    for (c = next(); c != ']'; c = next()) {
        if (count > 0 && c != ',') refuse("a comma is wanted");
        if (count == 0) ungetc(c, stdin);
        if (scanf("%lf", &number) != 1) refuse("an array of numbers is wanted");
        count++;
        sum += number;
        if (number < min) min = number;
        if (number > max) max = number;
    }
    if (count == 0) refuse("no numbers");
    printf("{\"count\": %lu, \"mean\": %.17g, \"min\": %.17g, \"max\": %.17g}\n", count, sum / count, min, max);
    return 0;
}
