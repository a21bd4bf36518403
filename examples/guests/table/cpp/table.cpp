// What every language must be able to do: see ../README.md. A command: the task is argv[1], its input is on stdin.
#include <cstdlib>
#include <functional>
#include <iomanip>
#include <iostream>
#include <iterator>
#include <map>
#include <numeric>
#include <string>
#include <vector>

constexpr int returned = 1, refused = 65;

static int sum() {
    std::vector<double> numbers;
    char mark = 0;
    if (!(std::cin >> mark) || mark != '[') return refused;
    for (double number; std::cin >> number;) {
        numbers.push_back(number);
        if (!(std::cin >> mark) || mark != ',') break;
    }
    std::cout << std::setprecision(15) << std::accumulate(numbers.begin(), numbers.end(), 0.0) << '\n';
    return 0;
}

static int echo() {
    const std::string input(std::istreambuf_iterator<char>(std::cin), {});
    std::cout << input;
    return 0;
}

static int fail(int code, const char *why) {
    std::cerr << why << '\n';
    return code;
}

static int say() {
    for (int line = 1; line <= 3; line++) std::cerr << "line " << line << ": grüße\n";
    std::cout << "3\n";
    return 0;
}

static int quit() {
    int code = 0;
    return std::cin >> code ? code : refused;
}

static int babble() {
    std::cout << "no JSON\n";
    return 0;
}

int main(int argc, char **argv) {
    const std::map<std::string, std::function<int()>> tasks = {
        {"sum", sum},
        {"echo", echo},
        {"busy", [] { return fail(returned, "try again"); }},
        {"never", [] { return fail(refused, "never again"); }},
        {"say", say},
        {"babble", babble},
        {"quit", quit},
        {"panic", []() -> int { std::abort(); }},
    };
    const auto found = tasks.find(argc > 1 ? argv[1] : "");
    return found == tasks.end() ? fail(refused, "no such task") : found->second();
}
