"""The report: a line for each station, the coldest first, those that are broken last."""


def line(of):
    if "broken" in of:
        return "{}: {}".format(of["station"], of["broken"])
    return "{}: {:.1f} degrees{}".format(of["station"], of["mean"], ", frost" if of["frost"] else "")


def run(stations):
    print(len(stations), "lines")
    return [line(of) for of in sorted(stations, key=lambda of: of.get("mean", 1000))]
