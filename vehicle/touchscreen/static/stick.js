// While this page is open, a stick that is put in or pulled out is seen without a touch.

import { renew } from './frame.js';

setInterval(() => renew('stick'), 3000);
