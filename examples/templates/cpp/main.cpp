// Reads JSON on stdin, writes JSON on stdout. Exit code 65 refuses the input for good, any other failure is tried again.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <iterator>
#include <numeric>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

constexpr int refused = 65;

[[noreturn]] static void refuse(const char *why) {
    std::cerr << why << '\n';
    std::exit(refused);
}

// An array of numbers: JSON's, and what strtod reads besides.
static std::optional<std::vector<double>> numbers_of(const std::string &text) {
    std::istringstream in(text);
    std::vector<double> numbers;
    char mark = 0;
    if (!(in >> mark) || mark != '[') return std::nullopt;
    if ((in >> std::ws).peek() == ']') return numbers;
    for (double number; in >> number >> mark;) {
        numbers.push_back(number);
        if (mark == ']') return numbers;
        if (mark != ',') return std::nullopt;
    }
    return std::nullopt;
}

int main() {
    const std::string input((std::istreambuf_iterator<char>(std::cin)), {});
    const auto numbers = numbers_of(input);
    if (!numbers) refuse("an array of numbers is wanted");
    if (numbers->empty()) refuse("no numbers");
    const double sum = std::accumulate(numbers->begin(), numbers->end(), 0.0);
    const auto [min, max] = std::minmax_element(numbers->begin(), numbers->end());
    std::printf("{\"count\": %zu, \"mean\": %.17g, \"min\": %.17g, \"max\": %.17g}\n", numbers->size(),
                sum / static_cast<double>(numbers->size()), *min, *max);
}
