#!/busybox sh
# First program of the appliance: modules, mounts, network, then guest.py for good. Its end is the machine's end.
b=/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs devtmpfs /dev
while read -r module; do $b insmod "/modules/$module" || echo "appliance: $module was not loaded"; done < /modules/order
$b mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=512000 usr /usr || $b poweroff -f
$b mount -t 9p -o trans=virtio,version=9p2000.L,ro guest /guest || $b poweroff -f
$b mkdir -p /run/dbus
$b ip link set lo up
$b ip link set eth0 up
$b ip address add 10.0.2.15/24 dev eth0
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin PYTHONDONTWRITEBYTECODE=1
exec /usr/bin/python3 -S -E /guest/guest.py
