// While this page is open the van looks for devices; it hears of it by the page asking again.

import { renew } from './frame.js';

setInterval(() => renew('discovery'), 5000);
