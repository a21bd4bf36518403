module lovage/sheet

go 1.21
