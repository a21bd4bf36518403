/* What every language must be able to do: see ../README.md. A command: the task is argv[1], its input is on stdin. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int sum(void) {
    double total = 0, number;
    if (scanf(" [") < 0) return 65;
    while (scanf(" %lf ,", &number) == 1) total += number;
    printf("%.15g\n", total);
    return 0;
}

static int echo(void) {
    char bytes[1 << 14];
    size_t count;
    while ((count = fread(bytes, 1, sizeof bytes, stdin)) > 0)
        if (fwrite(bytes, 1, count, stdout) != count) return 1;
    return 0;
}

static int say(void) {
    for (int line = 1; line <= 3; line++) fprintf(stderr, "line %d: grüße\n", line);
    puts("3");
    return 0;
}

static int quit(void) {
    int code = 1;
    if (scanf("%d", &code) != 1) return 65;
    return code;
}

int main(int argc, char **argv) {
    const char *task = argc > 1 ? argv[1] : "";
    if (!strcmp(task, "sum")) return sum();
    if (!strcmp(task, "echo")) return echo();
    if (!strcmp(task, "busy")) return fputs("try again\n", stderr), 1;
    if (!strcmp(task, "never")) return fputs("never again\n", stderr), 65;
    if (!strcmp(task, "say")) return say();
    if (!strcmp(task, "babble")) return puts("no JSON"), 0;
    if (!strcmp(task, "quit")) return quit();
    if (!strcmp(task, "panic")) abort();
    return fprintf(stderr, "no task %s\n", task), 65;
}
