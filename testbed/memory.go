package testbed

import (
	"os"

	"golang.org/x/sys/unix"
)

// InMemory is a file that is nowhere but in memory, to be read from its beginning by the program that it is given to.
func InMemory(name, text string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), name)
	if _, err := file.WriteAt([]byte(text), 0); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}
