#!/bin/sh
# Called by the agent's guest-shutdown as `shutdown -h|-r -P|-H +0 ...`, and by the power button.
# The agent waits for this script, so nothing here may wait for the agent.
sync
umount -a -r 2> /dev/null
case " $* " in
    *' -r '*) exec reboot -f ;;
    *' -H '*) exec halt -f ;;
    *) exec poweroff -f ;;
esac
