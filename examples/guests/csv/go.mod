module lovage/csv

go 1.21
