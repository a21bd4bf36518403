module task-name

go 1.21
