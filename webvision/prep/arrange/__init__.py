"""From unpacked folders to DIR/{train,val,test}/ and DIR/meta: rawlist and census find out what is there, placing puts
it there."""
