lab "x" {}
lab "y" {}
