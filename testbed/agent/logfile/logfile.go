// Package logfile writes logs that do not grow for ever.
package logfile

import (
	"errors"
	"io/fs"
	"os"
	"sync"
)

// most is how large a log becomes before it begins anew; the one before is kept beside it, as NAME.1.
const most = 1 << 20

// File is a log. It is opened when something is written; the folder must be there, so that nothing comes back of a lab that is
// gone.
type File struct {
	path string

	mu   sync.Mutex
	file *os.File
	size int64
}

// New returns the log of that path.
func New(path string) *File { return &File{path: path} }

func (f *File) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file != nil && f.size+int64(len(b)) > most {
		f.file.Close()
		f.file = nil
		if err := os.Rename(f.path, f.path+".1"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, err
		}
	}
	if f.file == nil {
		file, err := os.OpenFile(f.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
		if err != nil {
			return 0, err
		}
		info, err := file.Stat()
		if err != nil {
			file.Close()
			return 0, err
		}
		f.file, f.size = file, info.Size()
	}
	n, err := f.file.Write(b)
	f.size += int64(n)
	return n, err
}

// Close closes the log; what is written later opens it again.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		return nil
	}
	file := f.file
	f.file = nil
	return file.Close()
}
